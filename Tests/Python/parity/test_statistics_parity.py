# SPDX-License-Identifier: Apache-2.0
"""Statistics of the parts, merged, are those of the whole.

The sums themselves merge to 1e-12. BLAS, however, may round a row of a product otherwise when the
product has more rows, so that a whole computed in other batches than its parts differs by the noise
of fp32. A batch never holds more than one sequence where batch_tokens is 1.
"""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
import reference_metrics as reference
from random_models import masks
from subjects import Subject, Subjects

SAME_BATCHES = 1e-12
OTHER_BATCHES = 1e-6


@pytest.fixture(params=["llama-llama3-bfloat16", "qwen2-window-float32", "tales-12l"])
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


@pytest.mark.parametrize("tokens", ["all", "last"])
@pytest.mark.parametrize(("batch_tokens", "tolerance"), [(1, SAME_BATCHES), (None, OTHER_BATCHES)])
def test_merged_statistics_are_those_of_the_whole(
    subject: Subject, tokens: str, batch_tokens: int | None, tolerance: float
) -> None:
    keep = masks(subject.n_blocks)["random-2"]

    def gathered(data: pc.Data) -> pc.Statistics:
        empty = subject.model.statistics(windows=True, tokens=tokens)
        return empty.collect(data, keep, batch_tokens=batch_tokens)

    whole, merged = gathered(subject.data), gathered(subject.data[4:])
    merged.merge(gathered(subject.data[:1]))
    merged.merge(gathered(subject.data[1:4]))
    for granularity in ("sublayer", "block", "attention", "feed_forward"):
        for relative_to in ("input", "output"):
            question = {"granularity": granularity, "relative_to": relative_to}
            wanted, found = whole.scores(**question), merged.scores(**question)
            for metric in reference.STATIC:
                np.testing.assert_allclose(found[metric], wanted[metric], tolerance)
    np.testing.assert_allclose(merged.windows(), whole.windows(), tolerance)


@pytest.mark.parametrize(("batch_tokens", "tolerance"), [(1, SAME_BATCHES), (None, OTHER_BATCHES)])
def test_statistics_of_data_in_parts_are_those_of_the_whole(
    subject: Subject, batch_tokens: int | None, tolerance: float
) -> None:
    whole, parts = subject.model.statistics(), subject.model.statistics()
    whole.collect(subject.data, batch_tokens=batch_tokens)
    parts.collect(subject.data[:2], batch_tokens=batch_tokens)
    parts.collect(subject.data[2:], batch_tokens=batch_tokens)
    wanted, found = whole.scores(), parts.scores()
    for metric in reference.STATIC:
        np.testing.assert_allclose(found[metric], wanted[metric], tolerance)


def test_statistics_give_the_scores_of_a_model(subject: Subject) -> None:
    statistics = subject.model.statistics(subject.data)
    for granularity in ("sublayer", "block", "attention", "feed_forward"):
        scores = subject.model.score(
            subject.data, metrics=list(reference.STATIC), granularity=granularity
        )
        found = statistics.scores(granularity=granularity)
        for metric in reference.STATIC:
            np.testing.assert_allclose(found[metric], scores[metric], SAME_BATCHES)


def test_windows_of_one_block_are_its_angular_score(subject: Subject) -> None:
    statistics = subject.model.statistics(subject.data, windows=True)
    blocks = statistics.scores(granularity="block")["angular"]
    np.testing.assert_allclose(statistics.windows()[0], blocks, SAME_BATCHES)
