# SPDX-License-Identifier: Apache-2.0
"""Damages of masks are those of PyTorch on transformers' logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from oracle import Run, mean_loss, predicted
from random_models import masks
from raw_calls import damages, opened, token_data
from subjects import Subject, Subjects
from torch.nn.functional import kl_div

RELATIVE = 1e-5
TINY = 2e-7  # nats, or logits: below it, what fp32 leaves of a difference is noise
LOSS = 1e-5  # nats
DISTANCES = ("LOGIT_L2", "KL", "JS")


@pytest.fixture(params=["llama-biases-float32", "mistral-window-bfloat16", "tales-12l"])
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


@pytest.fixture
def model(subject: Subject) -> Iterator[Any]:
    with opened(subject.directory) as handle:
        yield handle


def every_mask(subject: Subject) -> np.ndarray:
    """All kept, every sublayer of the first two blocks alone removed, and the usual masks."""
    whole = np.ones(2 * subject.n_blocks, dtype=np.uint8)
    single = np.ones((4, len(whole)), dtype=np.uint8) - np.eye(4, len(whole), dtype=np.uint8)
    return np.stack([whole, *single, *masks(subject.n_blocks).values()])


def distance(kind: str, run: Run, reference: Run) -> np.ndarray:
    """The distance of every token's logits to the reference's, in float64."""
    a, b = torch.from_numpy(run.logits).double(), torch.from_numpy(reference.logits).double()
    if kind == "LOGIT_L2":
        return (a - b).norm(dim=1).numpy()
    log_q, log_p = a.log_softmax(1), b.log_softmax(1)
    if kind == "KL":
        return kl_div(log_q, log_p, log_target=True, reduction="none").sum(1).numpy()
    middle = ((log_p.exp() + log_q.exp()) / 2).log()
    return sum(
        kl_div(middle, x, log_target=True, reduction="none").sum(1) / 2 for x in (log_p, log_q)
    ).numpy()


def random_weights(lengths: list[int]) -> np.ndarray:
    random = np.random.default_rng(5)
    weights = random.uniform(0, 2, sum(lengths)).astype(np.float32)
    weights[random.random(sum(lengths)) < 1 / 3] = 0
    return weights


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reference", ["whole", "random-1"])
@pytest.mark.parametrize("kind", DISTANCES)
def test_distances_of_logits_are_those_of_pytorch(
    subject: Subject, model: Any, kind: str, reference: str, weighted: bool
) -> None:
    lengths = subject.lengths
    weights = random_weights(lengths) if weighted else np.ones(sum(lengths), dtype=np.float32)
    data = token_data(subject.sequences, weights if weighted else None)
    # A row counts as the token that it predicts does.
    counted = np.roll(weights * predicted(lengths), -1)
    other = None if reference == "whole" else masks(subject.n_blocks)[reference]
    base = subject.oracle.run(subject.sequences, other)
    keep = every_mask(subject)
    found = damages(model, data, keep, kind, other)
    for row, value in zip(keep, found, strict=True):
        run = subject.oracle.run(subject.sequences, row)
        wanted = float((distance(kind, run, base) * counted).sum() / counted.sum())
        assert value == pytest.approx(wanted, rel=RELATIVE, abs=TINY)
        assert value >= 0
        assert (value == 0) == np.array_equal(row, keep[0] if other is None else other)
    if kind == "JS":
        assert (found <= np.log(2)).all()


def test_losses_of_masks_are_those_of_transformers(subject: Subject, model: Any) -> None:
    weights = random_weights(subject.lengths)
    counted = weights.astype(np.float64) * predicted(subject.lengths)
    keep = every_mask(subject)
    found = damages(model, token_data(subject.sequences, weights), keep, "LOSS")
    for row, value in zip(keep, found, strict=True):
        run = subject.oracle.run(subject.sequences, row)
        assert value == pytest.approx(mean_loss(run.token_losses, counted), abs=LOSS)


@pytest.mark.parametrize("kind", ("LOSS", *DISTANCES))
def test_masks_together_are_the_masks_alone(subject: Subject, model: Any, kind: str) -> None:
    keep, data = every_mask(subject), token_data(subject.sequences)
    together = damages(model, data, keep, kind)
    assert np.array_equal(damages(model, data, keep, kind, memory_budget=1), together)
    alone = [damages(model, data, row[np.newaxis], kind)[0] for row in keep]
    assert np.array_equal(alone, together)


def test_cap_bounds_each_damage(subject: Subject, model: Any) -> None:
    keep, data = every_mask(subject), token_data(subject.sequences)
    free = damages(model, data, keep, "LOSS")
    cap = float(np.median(free)) + 1e-3
    assert np.array_equal(damages(model, data, keep, "LOSS", cap=cap), np.minimum(free, cap))
    for none in (0.0, -1.0):
        assert np.array_equal(damages(model, data, keep, "LOSS", cap=none), free)
