# SPDX-License-Identifier: Apache-2.0
"""The reference for diagnoses: hooks on a model of transformers, and NumPy in double precision.

Everything is computed from its definition, one sequence at a time: nothing is shared with the
library but the numbers of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class Reference:
    """What a diagnosis should find; arrays as in `prunecore.Diagnosis`."""

    loss: float
    state_variance: np.ndarray
    token_variance: np.ndarray
    update_variance: np.ndarray
    token_update_variance: np.ndarray
    angular: np.ndarray
    last_angular: np.ndarray
    sublayer_angular: np.ndarray
    gradient_norm: np.ndarray
    gradient_change: np.ndarray
    taylor: np.ndarray
    loss_increase: np.ndarray
    sublayer_loss_increase: np.ndarray


def reference(module: Any, sequences: Sequence[np.ndarray]) -> Reference:
    """Diagnoses a sequential pre-norm model, such as a Llama, whose sequences are run alone."""
    n_blocks = len(module.model.layers)
    runs = [_run(module, ids) for ids in sequences]
    states = [np.concatenate([run[0][u] for run in runs]) for u in range(2 * n_blocks + 1)]
    slopes = [np.concatenate([run[1][b] for run in runs]) for b in range(n_blocks + 1)]
    updates = [after - before for before, after in zip(states, states[1:], strict=False)]
    last = np.cumsum([len(ids) for ids in sequences]) - 1
    loss = mean_loss(module, sequences)
    norms = [np.linalg.norm(slope) for slope in slopes]
    return Reference(
        loss=loss,
        state_variance=np.array([state.var() for state in states]),
        token_variance=np.array([np.median(state.var(axis=1)) for state in states]),
        update_variance=np.array([update.var() for update in updates]),
        token_update_variance=np.array([np.median(update.var(axis=1)) for update in updates]),
        angular=_windows(states[::2]),
        last_angular=_windows([state[last] for state in states[::2]]),
        sublayer_angular=np.array(
            [_distance(a, b) for a, b in zip(states, states[1:], strict=False)]
        ),
        gradient_norm=np.array(norms) / np.sqrt(len(states[0])),
        gradient_change=np.array(
            [np.linalg.norm(slopes[b] - slopes[b + 1]) / norms[b + 1] for b in range(n_blocks)]
        ),
        taylor=_taylor(module, sequences),
        loss_increase=np.array(
            [_without(module, sequences, [2 * b, 2 * b + 1]) - loss for b in range(n_blocks)]
        ),
        sublayer_loss_increase=np.array(
            [_without(module, sequences, [u]) - loss for u in range(2 * n_blocks)]
        ),
    )


def mean_loss(module: Any, sequences: Sequence[np.ndarray]) -> float:
    """Over all predicted tokens."""
    with torch.no_grad():
        total = sum(float(_summed_loss(module, ids)) for ids in sequences)
    return total / sum(len(ids) - 1 for ids in sequences)


@contextmanager
def without(module: Any, sublayers: Sequence[int]) -> Iterator[None]:
    """Takes sublayers away: by hooks that make their updates zero."""
    hooks = [
        part.register_forward_hook(_zero)
        for sublayer, part in enumerate(_parts(module))
        if sublayer in sublayers
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _without(module: Any, sequences: Sequence[np.ndarray], sublayers: Sequence[int]) -> float:
    with without(module, sublayers):
        return mean_loss(module, sequences)


def _zero(_module: Any, _inputs: Any, output: Any) -> Any:
    if isinstance(output, tuple):
        return torch.zeros_like(output[0]), *output[1:]
    return torch.zeros_like(output)


def _parts(module: Any) -> list[Any]:
    return [part for layer in module.model.layers for part in (layer.self_attn, layer.mlp)]


def _summed_loss(module: Any, ids: np.ndarray) -> Tensor:
    tokens = torch.from_numpy(np.asarray(ids, dtype=np.int64))
    logits = module(tokens[None], use_cache=False).logits[0]
    return cross_entropy(logits[:-1].float(), tokens[1:], reduction="sum")


def _run(module: Any, ids: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """States before every sublayer and after the last, and gradients at the blocks' boundaries."""
    states: dict[int, Tensor] = {}
    inputs: list[Tensor] = []

    def before_block(_module: Any, arguments: Any, named: Any) -> None:
        inputs.append(arguments[0] if arguments else named["hidden_states"])
        inputs[-1].retain_grad()

    def keep(place: int) -> Any:
        def hook(_module: Any, arguments: Any) -> None:
            states[place] = arguments[0]

        return hook

    hooks = []
    for block, layer in enumerate(module.model.layers):
        hooks.append(layer.register_forward_pre_hook(before_block, with_kwargs=True))
        norms = layer.input_layernorm, layer.post_attention_layernorm
        hooks += [
            norm.register_forward_pre_hook(keep(2 * block + k)) for k, norm in enumerate(norms)
        ]
    end = 2 * len(module.model.layers)

    def at_end(_module: Any, arguments: Any) -> None:
        states[end] = arguments[0]
        arguments[0].retain_grad()

    hooks.append(module.model.norm.register_forward_pre_hook(at_end))
    with torch.enable_grad():
        _summed_loss(module, ids).backward()
    for hook in hooks:
        hook.remove()
    module.zero_grad()
    slopes = [_numbers(state.grad) for state in (*inputs, states[end])]
    return [_numbers(states[place]) for place in range(end + 1)], slopes


def _numbers(values: Tensor | None) -> np.ndarray:
    assert values is not None
    return values.detach()[0].double().numpy()


def _distance(before: np.ndarray, after: np.ndarray) -> float:
    """Mean over tokens of arccos(cosine) / pi."""
    product = (before * after).sum(axis=1)
    cosine = product / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    return float(np.mean(np.arccos(np.clip(cosine, -1, 1)) / np.pi))


def _windows(boundaries: Sequence[np.ndarray]) -> np.ndarray:
    n_blocks = len(boundaries) - 1
    made = np.full((n_blocks, n_blocks), np.nan)
    for n in range(1, n_blocks + 1):
        for first in range(n_blocks - n + 1):
            made[n - 1, first] = _distance(boundaries[first], boundaries[first + n])
    return made


def _taylor(module: Any, sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Sum of abs(w * gradient of the mean loss) over the matrices of each block."""
    module.zero_grad()
    with torch.enable_grad():
        total = sum(_summed_loss(module, ids) for ids in sequences)
        (total / sum(len(ids) - 1 for ids in sequences)).backward()  # type: ignore[union-attr]
    made = []
    for layer in module.model.layers:
        grads = [(p.detach(), p.grad) for p in layer.parameters() if p.ndim == 2]
        made.append(sum(float((p * slope).abs().sum()) for p, slope in grads if slope is not None))
    module.zero_grad()
    return np.array(made)
