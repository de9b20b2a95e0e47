# SPDX-License-Identifier: Apache-2.0
"""Greedy text is that of transformers, token for token, and so is the loss of every token.

Transformers computes every step from scratch (its cache takes the first layer's length for that of
all, which a removed first layer breaks), PruneCore over its cache: the comparison is of both.
"""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
import torch
from oracle import Oracle, token_losses
from random_models import masks
from subjects import REAL, Subject, Subjects

REAL_TOKENS = 200
RANDOM_TOKENS = 90  # beyond every window
RANDOM = (
    "llama-llama3-float32",
    "llama-biases-bfloat16",
    "llama-linear-float32",
    "mistral-window-float32",
    "qwen2-biases-float32",
    "qwen2-window-float32",
    "qwen2-old-window-yarn-float32",
    "qwen3-float32",
    "qwen3-layer-types-bfloat16",
)
TOKEN_LOSS = 2e-4  # nats: against transformers, as in test_forward_parity
OWN_LOSS = 1e-5  # nats, of losses of a few nats: over the cache against from scratch


def greedy(oracle: Oracle, prompt: np.ndarray, count: int, keep: np.ndarray | None) -> np.ndarray:
    """What transformers' `generate` writes."""
    oracle._keep = np.ones(2 * oracle.n_blocks, dtype=np.uint8) if keep is None else keep
    ids = torch.from_numpy(np.asarray(prompt, dtype=np.int64))[None]
    with torch.inference_mode():
        whole = oracle.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            min_new_tokens=None,
            do_sample=False,
            use_cache=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    oracle._states.clear()
    new: np.ndarray = whole[0, len(prompt) :].numpy()
    return new


def check(subject: Subject, prompts: list[np.ndarray], count: int, keep: np.ndarray | None) -> None:
    """Compares prompts of unequal lengths, continued together."""
    made = subject.model.generate(
        pc.Data(prompts), count, mask=keep, stop_at_eos=False, batch_sequences=len(prompts)
    )
    assert set(made.reasons) == {"length"}
    # Few rows go through products of another kind than many.
    pairs = subject.model.generate(
        pc.Data(prompts), count, mask=keep, stop_at_eos=False, batch_sequences=2
    )
    assert [row.tolist() for row in pairs.tokens] == [row.tolist() for row in made.tokens]
    wholes = []
    for prompt, tokens, losses in zip(prompts, made.tokens, made.losses, strict=True):
        assert tokens.tolist() == greedy(subject.oracle, prompt, count, keep).tolist()
        wholes.append(np.concatenate([prompt, tokens]))
        wanted = token_losses(subject.oracle.run([wholes[-1]], keep).logits, wholes[-1])
        assert np.abs(losses - wanted[len(prompt) :]).max() <= TOKEN_LOSS
    own = subject.model.token_losses(pc.Data(wholes), mask=keep)
    rows = np.split(own, np.cumsum([len(whole) for whole in wholes])[:-1])
    for row, losses in zip(rows, made.losses, strict=True):
        assert np.abs(row[-count:] - losses).max() <= OWN_LOSS * max(1, np.abs(row).max())


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("kept", ["none", "random-0", "random-1"])
def test_greedy_text_of_real_models_is_that_of_transformers(
    subjects: Subjects, name: str, kept: str
) -> None:
    subject = subjects(name)
    keep = None if kept == "none" else masks(subject.n_blocks)[kept]
    prompts = [row[:length] for row, length in zip(subject.sequences, (1, 9, 40), strict=False)]
    check(subject, prompts, REAL_TOKENS, keep)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("kept", ["none", "random-0", "only-attention", "only-feed-forward"])
def test_greedy_text_of_random_models_is_that_of_transformers(
    subjects: Subjects, name: str, kept: str
) -> None:
    subject = subjects(name)
    keep = None if kept == "none" else masks(subject.n_blocks)[kept]
    prompts = [row for row in subject.sequences if len(row) < 100]
    assert len(prompts) == 6
    check(subject, prompts, RANDOM_TOKENS, keep)
