# SPDX-License-Identifier: Apache-2.0
"""Sampled tokens are distributed as the logits warpers of transformers say."""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
import torch
from scipy.stats import chisquare
from subjects import Subjects
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

DRAWS = 5_000
OPTIONS = (
    {"temperature": 1.0},
    {"temperature": 0.6},
    {"temperature": 1.7, "top_k": 12},
    {"temperature": 1.0, "top_p": 0.8},
    {"temperature": 1.3, "top_k": 25, "top_p": 0.9},
)


def warped(logits: np.ndarray, options: dict[str, float]) -> np.ndarray:
    """Probabilities after the warpers, in the order in which transformers applies them."""
    scores = torch.from_numpy(logits)[None]
    scores = TemperatureLogitsWarper(options["temperature"])(None, scores)
    if "top_k" in options:
        scores = TopKLogitsWarper(int(options["top_k"]))(None, scores)
    if "top_p" in options:
        scores = TopPLogitsWarper(options["top_p"])(None, scores)
    found: np.ndarray = scores.double().softmax(dim=-1)[0].numpy()
    return found


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_sampled_tokens_follow_the_warpers_of_transformers(
    subjects: Subjects, options: dict[str, float]
) -> None:
    subject = subjects("tales-12l")
    text = subject.sequences[0][:10]
    rows = subject.oracle.run([text]).logits
    shares = np.exp(rows - rows.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    place = int(np.argmax(-(shares * np.log(shares)).sum(axis=1)))  # where most tokens may follow
    prompt = text[: place + 1]
    wanted = warped(rows[place], options)
    made = subject.model.generate(
        pc.Data([prompt] * DRAWS), 1, seed=1, stop_at_eos=False, batch_sequences=1000, **options
    )
    counts = np.bincount(np.concatenate(made.tokens), minlength=len(wanted))
    assert counts[wanted == 0].sum() == 0
    # Rare tokens count together: the statistic needs some five of each.
    order = np.argsort(-wanted)
    common = order[wanted[order] * DRAWS >= 5]
    rare = counts.sum() - counts[common].sum(), (1 - wanted[common].sum()) * DRAWS
    seen = np.append(counts[common], rare[0])
    expected = np.append(wanted[common] * DRAWS, rare[1])
    if rare[1] < 5:
        assert rare[0] <= 25
        seen, expected = seen[:-1], expected[:-1] * seen[:-1].sum() / expected[:-1].sum()
    assert len(seen) >= 8
    assert chisquare(seen, expected).pvalue > 1e-4
