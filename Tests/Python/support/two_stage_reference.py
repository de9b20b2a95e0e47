# SPDX-License-Identifier: Apache-2.0
"""2SSP (arXiv 2501.17771) on a Llama of transformers, slowly and by the letter of its formulas.

It knows nothing of how prunecore does it: hooks on down_proj, weights cut in place, attention taken
out by an output of zeros, perplexity of the whole model for every candidate.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class TwoStage:
    """What is left: width of all feed-forwards, neurons by block, removed attention in order."""

    width: int
    neurons: list[list[int]]
    attention: list[int]
    model: Any


def two_stage_reference(
    model: Any,
    samples: list[np.ndarray],
    sparsity: float,
    alpha: float = 1.5,
    n_attention: int | None = None,
    measured: int = 1,
) -> TwoStage:
    """The algorithm, on a copy of the model.

    Section 3.3, equation 5: N_attn = round(N * s^((|FFN| / |Attn|) / alpha)); feed-forwards lose
    what is left of the share s of the parameters of all layers, each the same. Stage 1 keeps the
    neurons of the highest mean over samples of ||h_j||_2. Stage 2 removes one attention after the
    other, that whose removal gives the lowest perplexity on the first sample.
    """
    model = copy.deepcopy(model).eval()
    layers = model.model.layers
    count = len(layers)
    whole = sum(p.numel() for p in layers.parameters())
    of_attention = sum(p.numel() for p in layers[0].self_attn.parameters())
    of_mlp = sum(p.numel() for p in layers[0].mlp.parameters())
    if n_attention is None:
        n_attention = round(count * sparsity ** ((of_mlp / of_attention) / alpha))
    of_each = int(round((int(round(sparsity * whole)) - n_attention * of_attention) / count))
    inner = layers[0].mlp.down_proj.in_features
    width = int(round(inner * (1 - of_each / of_mlp)))

    norms = [torch.zeros(inner) for _ in range(count)]
    for sample in samples:
        hooks = [
            layer.mlp.down_proj.register_forward_pre_hook(partial(_add_norms, norms[i]))
            for i, layer in enumerate(layers)
        ]
        with torch.no_grad():
            model(torch.from_numpy(sample).long()[None])
        for hook in hooks:
            hook.remove()
    neurons = []
    for layer, summed in zip(layers, norms, strict=True):
        kept = torch.topk(summed / len(samples), width).indices.sort().values
        neurons.append(kept.tolist())
        mlp = layer.mlp
        mlp.gate_proj.weight.data = mlp.gate_proj.weight.data[kept]
        mlp.up_proj.weight.data = mlp.up_proj.weight.data[kept]
        mlp.down_proj.weight.data = mlp.down_proj.weight.data[:, kept]

    removed: list[int] = []
    for _ in range(n_attention):
        best, lowest = -1, float("inf")
        for candidate in range(count):
            if candidate in removed:
                continue
            found = _perplexity(model, [*removed, candidate], samples[:measured])
            if found < lowest:
                best, lowest = candidate, found
        removed.append(best)
    return TwoStage(width, neurons, removed, model)


def _add_norms(sums: torch.Tensor, _module: Any, given: tuple[torch.Tensor, ...]) -> None:
    sums += given[0][0].norm(dim=0, p=2)


def logits_without(model: Any, removed: list[int], tokens: np.ndarray) -> torch.Tensor:
    """Logits with the attention of some layers taken out."""
    hooks = [
        model.model.layers[i].self_attn.register_forward_hook(
            lambda _m, _given, output: (torch.zeros_like(output[0]), *output[1:])
        )
        for i in removed
    ]
    try:
        with torch.no_grad():
            found: torch.Tensor = model(torch.from_numpy(tokens).long()[None]).logits[0]
            return found
    finally:
        for hook in hooks:
            hook.remove()


def _perplexity(model: Any, removed: list[int], samples: list[np.ndarray]) -> float:
    total, count = 0.0, 0
    for sample in samples:
        logits = logits_without(model, removed, sample)
        wanted = torch.from_numpy(sample[1:]).long()
        total += float(torch.nn.functional.cross_entropy(logits[:-1], wanted, reduction="sum"))
        count += len(wanted)
    return float(np.exp(total / count))
