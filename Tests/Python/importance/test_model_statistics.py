# SPDX-License-Identifier: Apache-2.0
"""Statistics: merging, windows, and agreement with scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import prunecore as pc
import pytest

STATIC = tuple(name for name in pc.STATIC_METRICS if name != "magnitude")


@pytest.fixture(scope="module")
def data(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "maths.jsonl", model, sequence_length=32, limit=6)


@pytest.mark.parametrize("tokens", ["all", "last"])
def test_statistics_of_parts_merge_to_the_whole(
    model: pc.Model, data: pc.Data, tokens: str
) -> None:
    # One sequence per batch: float32 matrix products round otherwise in batches of another size.
    whole = model.statistics(tokens=tokens).collect(data, batch_tokens=32)
    left = pc.Statistics(12, tokens=tokens).collect(data[:2], model=model, batch_tokens=32)
    right = model.statistics(tokens=tokens)
    right.collect(data[2:3], batch_tokens=32).collect(data[3:], batch_tokens=32)
    merged = left.merge(right)
    assert merged is left
    for granularity in pc.GRANULARITIES:
        one, two = whole.scores(granularity=granularity), merged.scores(granularity=granularity)
        assert one.metrics == STATIC
        for metric in STATIC:
            np.testing.assert_allclose(one[metric], two[metric], rtol=1e-12, atol=1e-15)
    assert merged.scores().provenance["data_sha256"] == [
        part.digest for part in (data[:2], data[2:3], data[3:])
    ]


def test_they_are_the_scores_of_the_model(model: pc.Model, data: pc.Data) -> None:
    mask = pc.Mask.remove(["ffn.5"], 12)
    statistics = model.statistics().collect(data, mask)
    for relative_to in ("input", "output"):
        scores = model.score(data, STATIC, mask=mask, relative_to=relative_to)
        again = statistics.scores(relative_to=relative_to)
        for metric in STATIC:
            np.testing.assert_allclose(again[metric], scores[metric], rtol=1e-12, atol=1e-15)
    some = statistics.scores(["l2", "cosine"], "block")
    assert some.metrics == ("cosine", "l2") and some.granularity == "block"
    with pytest.raises(pc.ArgumentError):
        statistics.scores("magnitude")


def test_windows_are_angles_between_hidden_states(model: pc.Model, data: pc.Data) -> None:
    found = model.statistics(data, windows=True).windows()
    states = [model.hidden_states(data, 2 * block).astype(np.float64) for block in range(13)]
    assert found.shape == (12, 12)
    for n in range(1, 13):
        for start in range(12):
            value = found[n - 1, start]
            if start + n > 12:
                assert np.isnan(value)
                continue
            one, two = states[start], states[start + n]
            cosine = (one * two).sum(1) / (
                np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
            )
            wanted = (np.arccos(np.clip(cosine, -1, 1)) / np.pi).mean()
            assert value == pytest.approx(wanted, rel=2e-5)


def test_statistics_used_wrongly_are_refused(model: pc.Model, data: pc.Data) -> None:
    empty = pc.Statistics(12)
    with pytest.raises(pc.DataError):
        empty.scores()
    with pytest.raises(pc.ArgumentError, match="belong to no model"):
        empty.collect(data)
    with pytest.raises(pc.ArgumentError):
        model.statistics(data).windows()
    with pytest.raises(pc.ArgumentError):
        empty.merge(pc.Statistics(11))
    with pytest.raises(pc.ArgumentError):
        empty.merge(pc.Statistics(12, tokens="last"))
    with pytest.raises(pc.ArgumentError):
        pc.Statistics(11).collect(data, model=model)
    for n_blocks in (0, -1, 2**40):
        with pytest.raises(pc.ArgumentError):
            pc.Statistics(n_blocks)
    with pytest.raises(pc.ArgumentError, match="tokens"):
        pc.Statistics(12, tokens="first")  # type: ignore[arg-type]


def test_failed_update_of_statistics_adds_nothing(model: pc.Model, data: pc.Data) -> None:
    statistics = model.statistics(data)
    before = statistics.scores()
    with pytest.raises(pc.Cancelled):
        statistics.collect(data, progress=lambda *_: True)
    with pytest.raises(pc.DataError):
        statistics.collect(pc.Data([[1, 4000]]))
    assert statistics.scores().to_dict() == before.to_dict()
