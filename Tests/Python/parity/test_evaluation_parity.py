# SPDX-License-Identifier: Apache-2.0
"""Evaluation: token weights, several masks at once, and independence of how the work is cut up."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import prunecore as pc
import pytest
from oracle import mean_loss, predicted, sequence_perplexity
from random_models import masks
from subjects import Subject, Subjects

LOSS = 1e-5  # nats, against the oracle
SAME = 1e-6  # relative, between two ways to cut up the same work


@pytest.fixture(params=["llama-biases-float32", "mistral-window-bfloat16", "tales-12l"])
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


@pytest.fixture
def threads() -> Iterator[None]:
    yield
    pc.set_threads(0)


def random_weights(lengths: list[int]) -> np.ndarray:
    """Weights from 0 to 2; a third are 0, and so are all of the second sequence."""
    random = np.random.default_rng(3)
    weights = random.uniform(0, 2, sum(lengths)).astype(np.float32)
    weights[random.random(sum(lengths)) < 1 / 3] = 0
    weights[lengths[0] : lengths[0] + lengths[1]] = 0
    return weights


def test_loss_with_token_weights_is_that_of_transformers(subject: Subject) -> None:
    lengths, keep = subject.lengths, masks(subject.n_blocks)["random-0"]
    weights = random_weights(lengths)
    rows = np.split(weights, np.cumsum(lengths)[:-1])
    data = pc.Data(subject.sequences, token_weights=rows)
    losses = subject.oracle.run(subject.sequences, keep).token_losses
    counted = weights.astype(np.float64) * predicted(lengths)
    found = subject.model.evaluate(data, mask=keep)
    assert abs(found.loss - mean_loss(losses, counted)) <= LOSS
    assert found.perplexity == pytest.approx(np.exp(found.loss), rel=1e-12)
    wanted = sequence_perplexity(losses, counted, lengths)
    assert found.sequence_perplexity == pytest.approx(wanted, rel=10 * LOSS)
    assert found.tokens == np.count_nonzero(counted)
    assert found.weight == pytest.approx(counted.sum(), rel=1e-9)
    with_weight = [row.sum() > 0 for row in np.split(counted, np.cumsum(lengths)[:-1])]
    assert found.sequences == sum(with_weight)
    assert not all(with_weight)


def test_leave_one_out_loss_uses_the_token_weights(subject: Subject) -> None:
    weights = random_weights(subject.lengths)
    rows = np.split(weights, np.cumsum(subject.lengths)[:-1])
    data = pc.Data(subject.sequences, token_weights=rows)
    counted = weights.astype(np.float64) * predicted(subject.lengths)
    scores = subject.model.score(data, metrics="leave_one_out_loss", granularity="block")
    whole = mean_loss(subject.oracle.run(subject.sequences).token_losses, counted)
    for block, score in enumerate(scores["leave_one_out_loss"]):
        keep = np.ones(2 * subject.n_blocks, dtype=np.uint8)
        keep[2 * block : 2 * block + 2] = 0
        less = mean_loss(subject.oracle.run(subject.sequences, keep).token_losses, counted)
        assert score == pytest.approx(less - whole, rel=1e-4, abs=LOSS)


def test_loss_is_the_mean_of_the_token_losses(subject: Subject) -> None:
    counted = predicted(subject.lengths)
    for keep in masks(subject.n_blocks).values():
        losses = subject.model.token_losses(subject.data, mask=keep).astype(np.float64)
        found = subject.model.evaluate(subject.data, mask=keep)
        assert found.loss == pytest.approx(mean_loss(losses, counted), rel=SAME)


def test_many_masks_at_once_are_the_masks_one_by_one(subject: Subject) -> None:
    rows = np.stack(list(masks(subject.n_blocks).values()))
    together = subject.model.evaluate_masks(subject.data, rows)
    assert len(together) == len(rows)
    for keep, found in zip(rows, together, strict=True):
        alone = subject.model.evaluate(subject.data, mask=keep)
        assert found.loss == pytest.approx(alone.loss, rel=SAME)
        assert found.sequence_perplexity == pytest.approx(alone.sequence_perplexity, rel=SAME)
        assert found.tokens == alone.tokens


@pytest.mark.parametrize("batch_tokens", [1, 100, 161, 10_000])
def test_loss_does_not_depend_on_batches(subject: Subject, batch_tokens: int) -> None:
    keep = masks(subject.n_blocks)["random-1"]
    wanted = subject.model.evaluate(subject.data, mask=keep)
    found = subject.model.evaluate(subject.data, mask=keep, batch_tokens=batch_tokens)
    assert found.loss == pytest.approx(wanted.loss, rel=SAME)
    scores = subject.model.score(subject.data, mask=keep)
    cut_up = subject.model.score(subject.data, mask=keep, batch_tokens=batch_tokens)
    for metric in pc.STATIC_METRICS:
        np.testing.assert_allclose(cut_up[metric], scores[metric], SAME, err_msg=metric)


def test_loss_does_not_depend_on_threads(subject: Subject, threads: None) -> None:
    keep = masks(subject.n_blocks)["random-1"]
    losses, scores = [], []
    for count in (1, 2, 3, 0):
        pc.set_threads(count)
        losses.append(subject.model.evaluate(subject.data, mask=keep).loss)
        scores.append(subject.model.score(subject.data, mask=keep))
    assert losses == pytest.approx([losses[0]] * len(losses), rel=SAME)
    for other in scores[1:]:
        for metric in pc.STATIC_METRICS:
            np.testing.assert_allclose(other[metric], scores[0][metric], SAME, err_msg=metric)


def test_the_same_call_twice_gives_the_same_bits(subject: Subject) -> None:
    first, again = (subject.model.score(subject.data) for _ in range(2))
    for metric in pc.STATIC_METRICS:
        assert np.array_equal(first[metric], again[metric])
    evaluations = [subject.model.evaluate(subject.data).loss for _ in range(2)]
    assert evaluations[0] == evaluations[1]
