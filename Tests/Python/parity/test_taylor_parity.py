# SPDX-License-Identifier: Apache-2.0
"""Taylor importance against weights times the gradients that PyTorch's autograd gives."""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
import reference_metrics as reference
import torch
from oracle import Oracle
from random_models import masks
from subjects import Subject, Subjects

RELATIVE = 1e-3
MODELS = (
    "llama-llama3-float32",
    "llama-biases-float32",
    "llama-old-linear-float32",
    "mistral-window-float32",
    "qwen2-biases-float32",
    "qwen2-window-float32",
    "qwen3-float32",
    "qwen3-layer-types-float32",
    "llama-llama3-float16",
)
GRANULARITIES = ("sublayer", "block", "attention", "feed_forward")


@pytest.fixture(params=MODELS)
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


def token_weights(sequences: list[np.ndarray]) -> list[np.ndarray]:
    """Weights that differ, zeros among them."""
    random = np.random.default_rng(17)
    return [random.choice([0.0, 0.5, 1.0, 2.0], len(ids)).astype(np.float32) for ids in sequences]


def autograd_taylor(
    oracle: Oracle, sequences: list[np.ndarray], keep: np.ndarray, weights: list[np.ndarray]
) -> np.ndarray:
    """Sum of |w * d(loss)/dw| over the matrices of every sublayer; 0 for those removed."""
    oracle.model.zero_grad()
    oracle._keep = keep
    whole = sum(float(own[1:].sum()) for own in weights)
    for ids, own in zip(sequences, weights, strict=True):
        if len(ids) < 2:
            continue
        tokens = torch.from_numpy(np.asarray(ids))
        logits = oracle.model(tokens[None], use_cache=False).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="none")
        ((losses * torch.from_numpy(own[1:])).sum() / whole).backward()
    oracle._states = []
    scores = []
    for layer in oracle.model.model.layers:
        for module in (layer.self_attn, layer.mlp):
            matrices = [p for name, p in module.named_parameters() if name.endswith("proj.weight")]
            assert len(matrices) in (3, 4)
            used = [p for p in matrices if p.grad is not None]
            scores.append(sum(float((p.double() * p.grad).detach().abs().sum()) for p in used))
    oracle.model.zero_grad()
    return np.array(scores)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_taylor_is_that_of_autograd(subject: Subject, granularity: str) -> None:
    keep = np.ones(2 * subject.n_blocks, dtype=np.uint8)
    ones = [np.ones(len(ids), dtype=np.float32) for ids in subject.sequences]
    wanted = autograd_taylor(subject.oracle, subject.sequences, keep, ones)
    units = reference.units(granularity, subject.n_blocks)
    found = subject.model.score(subject.data, "taylor", granularity)["taylor"]
    np.testing.assert_allclose(found, [wanted[list(unit)].sum() for unit in units], RELATIVE)


@pytest.mark.parametrize("name", ["random-0", "only-feed-forward", "all-removed"])
def test_under_a_mask_with_weights_and_batches(subject: Subject, name: str) -> None:
    keep = masks(subject.n_blocks)[name]
    weights = token_weights(subject.sequences)
    wanted = autograd_taylor(subject.oracle, subject.sequences, keep, weights)
    data = pc.Data(subject.sequences, token_weights=np.concatenate(weights))
    found = subject.model.score(data, "taylor", mask=keep, batch_tokens=120)["taylor"]
    assert ((found != 0) == (keep != 0)).all()
    np.testing.assert_allclose(found, wanted, RELATIVE)


def test_taylor_in_bfloat16_is_near_that_of_autograd(subjects: Subjects) -> None:
    subject = subjects("tales-12l")
    try:
        model = pc.open(subject.directory, compute="bfloat16")
    except pc.UnsupportedError:
        pytest.skip("this CPU has no bf16 products")
    exact = pc.open(subject.directory, compute="float32")
    found = model.score(subject.data, "taylor")["taylor"]
    wanted = exact.score(subject.data, "taylor")["taylor"]
    np.testing.assert_allclose(found, wanted, 3e-2)
