# SPDX-License-Identifier: Apache-2.0
"""Candidates of multiple-choice items are as likely as PyTorch finds on transformers' logits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from prunecore._native.library import ffi, lib, new_struct
from random_models import masks
from raw_calls import array, check, damages, opened
from subjects import Subject, Subjects

RELATIVE = 1e-4
TOKEN_LOSS = 2e-4  # nats
MASKS = ("none", *masks(1))


@pytest.fixture(params=["llama-biases-float32", "mistral-window-bfloat16", "tales-12l"])
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


@pytest.fixture
def model(subject: Subject) -> Iterator[Any]:
    with opened(subject.directory) as handle:
        yield handle


@dataclass(frozen=True)
class Item:
    context: np.ndarray
    candidates: list[np.ndarray]
    answer: int


def choice_items(subject: Subject) -> list[Item]:
    """Items cut from the texts: the way they go on, among others of one token and of several."""
    random = np.random.default_rng(13)
    vocabulary = subject.oracle.model.config.vocab_size
    items = []
    for number, sequence in enumerate(subject.sequences * 2):
        cut = max(1, len(sequence) // (2 + number % 3))
        lengths = [1, 1, 1, 1] if number % 3 == 0 else [1, 4, 2] if number % 3 == 1 else [3, 3]
        answer = number % len(lengths)
        candidates = [random.integers(0, vocabulary, length) for length in lengths]
        candidates[answer] = sequence[cut : cut + lengths[answer]]
        if len(candidates[answer]) < lengths[answer]:
            continue
        items.append(Item(sequence[:cut], candidates, answer))
    assert len(items) >= 5
    return items


def choice_data(items: list[Item], score: int) -> Any:
    choices = new_struct("prune_choices")
    candidates = [candidate for item in items for candidate in item.candidates]
    kept = {
        "context_ids": array("int32_t", np.concatenate([item.context for item in items])),
        "context_lengths": array("int64_t", [len(item.context) for item in items]),
        "n_candidates": array("int64_t", [len(item.candidates) for item in items]),
        "candidate_ids": array("int32_t", np.concatenate(candidates)),
        "candidate_lengths": array("int64_t", [len(candidate) for candidate in candidates]),
        "answers": array("int64_t", [item.answer for item in items]),
    }
    for name, value in kept.items():
        setattr(choices, name, value)
    choices.score, choices.n_items = score, len(items)
    out = ffi.new("prune_data **")
    check(lib.prune_data_create_choices(choices, out))
    return ffi.gc(out[0], lib.prune_data_release)


def log_likelihoods(subject: Subject, item: Item, keep: np.ndarray) -> list[np.ndarray]:
    """Per candidate, the log-probability of each of its tokens, by the oracle."""
    found = []
    for candidate in item.candidates:
        run = subject.oracle.run([np.concatenate([item.context, candidate])], keep)
        first = len(item.context) - 1
        rows = torch.from_numpy(run.logits[first : first + len(candidate)]).double()
        found.append(rows.log_softmax(1)[range(len(candidate)), candidate].numpy())
    return found


@pytest.mark.parametrize("mask", MASKS)
def test_log_likelihoods_of_choices_are_those_of_pytorch(
    subject: Subject, model: Any, mask: str
) -> None:
    whole = np.ones(2 * subject.n_blocks, dtype=np.uint8)
    keep = whole if mask == "none" else masks(subject.n_blocks)[mask]
    items = choice_items(subject)
    wanted = [log_likelihoods(subject, item, keep) for item in items]
    flat = [tokens for item in wanted for tokens in item]
    out, count = ffi.new("double[]", len(flat)), ffi.new("size_t *")
    data, bytes_ = choice_data(items, lib.PRUNE_CHOICE_SCORE_SUM), array("uint8_t", keep)
    check(
        lib.prune_model_evaluate_choices(
            model, data, bytes_, len(keep), ffi.NULL, out, len(flat), count
        )
    )
    assert count[0] == len(flat)
    for value, tokens in zip(out, flat, strict=True):
        assert abs(value - tokens.sum()) <= TOKEN_LOSS * len(tokens)

    right = np.concatenate([own[item.answer] for item, own in zip(items, wanted, strict=True)])
    found = damages(model, data, keep[np.newaxis], "LOSS")[0]
    assert found == pytest.approx(-right.mean(), abs=TOKEN_LOSS)

    for score in (lib.PRUNE_CHOICE_SCORE_SUM, lib.PRUNE_CHOICE_SCORE_MEAN):
        data = choice_data(items, score)
        error = damages(model, data, keep[np.newaxis], "CHOICE_ERROR", batch_tokens=50)[0]
        loss = damages(model, data, keep[np.newaxis], "CHOICE_LOSS", batch_tokens=50)[0]
        wrong, losses = 0, []
        for item, own in zip(items, wanted, strict=True):
            means = score == lib.PRUNE_CHOICE_SCORE_MEAN
            scores = np.array([tokens.mean() if means else tokens.sum() for tokens in own])
            ranked = np.sort(scores)
            assert ranked[-1] - ranked[-2] > 10 * TOKEN_LOSS, "too near a tie to compare"
            wrong += int(scores.argmax() != item.answer)
            losses.append(-torch.from_numpy(scores).log_softmax(0)[item.answer].item())
        assert error == pytest.approx(wrong / len(items), abs=1e-12)
        assert loss == pytest.approx(np.mean(losses), rel=RELATIVE, abs=2 * TOKEN_LOSS)
