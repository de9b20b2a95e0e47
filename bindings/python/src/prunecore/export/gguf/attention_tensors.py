# SPDX-License-Identifier: Apache-2.0
"""The tensors of an attention layer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from prunecore.export.gguf.fitting import Fit
from prunecore.export.gguf.operations import Vector
from prunecore.export.gguf.plan import AttentionPlan, HeadNorm, Projection, SublayerPlan
from prunecore.export.gguf.planned import Indices, PlannedTensor, vector
from prunecore.export.gguf.weights import Weights
from prunecore.tensors.stored import Floats

# A projection, which of its outputs, and what they are multiplied by.
_Input = tuple[Projection, Indices, float]


def attention_tensors(
    fit: Fit, weights: Weights, prefix: str, block: int, added: Vector | None
) -> Iterator[PlannedTensor]:
    """All tensors of a block's attention, with what is added to what it hands out."""
    sublayer, plan = fit.plan.attention(block)
    graph = fit.graph
    if graph.norms_before and sublayer.before is not None:
        yield from weights.norm(f"{prefix}.attn_norm", sublayer.before, graph)
    inputs = _inputs(fit, plan)
    if graph.fuses_inputs:
        yield from _fused(fit, weights, prefix, list(inputs.values()))
    else:
        for name, (projection, which, factor) in inputs.items():
            part = weights.part(projection.weight, which, factor)
            yield weights.matrix(f"{prefix}.attn_{name}.weight", [part])
            bias = weights.bias(projection, which)
            if bias is not None:
                yield vector(f"{prefix}.attn_{name}.bias", factor * bias)
    for name, norm in (("q", plan.query_norm), ("k", plan.key_norm)):
        if norm is not None:
            yield vector(f"{prefix}.attn_{name}_norm.weight", _gain(fit, weights, plan, norm, name))
    if plan.sinks is not None:
        yield vector(f"{prefix}.attn_sinks.weight", weights.tensor(plan.sinks).rows(slice(None)))
    yield weights.whole(f"{prefix}.attn_output.weight", plan.output)
    bias = output_bias(weights, sublayer, plan.output, added, graph.output_bias == "must")
    if bias is not None:
        yield vector(f"{prefix}.attn_output.bias", bias)
    if sublayer.after is not None:
        name = f"{prefix}.post_attention_norm"
        yield from weights.norm(name, sublayer.after, graph)


def output_bias(
    weights: Weights,
    sublayer: SublayerPlan,
    projection: Projection,
    added: Vector | None,
    must: bool,
) -> Floats | None:
    """The model's own bias, if it has one, plus what is folded into it."""
    made = weights.bias(projection)
    if added is not None:
        folded = added if sublayer.scale == 1 else added / np.float32(sublayer.scale)
        made = folded if made is None else made + folded
    if made is None and must:
        made = np.zeros(projection.outputs, dtype=np.float32)
    return made


def _inputs(fit: Fit, plan: AttentionPlan) -> dict[str, _Input]:
    """Queries, keys and values, their rows in the order in which the architecture turns them."""
    size = fit.shape.head_size
    heads = {"q": fit.shape.n_heads, "k": fit.shape.n_kv_heads, "v": fit.shape.n_kv_heads}
    order = _order(fit, plan)
    # A norm forgets what queries are multiplied by before it.
    factor = 1.0 if plan.query_norm else fit.query_factor(plan)
    made = {}
    apart = {"q": plan.query, "k": plan.key, "v": plan.value}
    for index, name in enumerate(apart):
        projection = plan.head_by_head or apart[name]
        assert projection is not None
        rows = np.arange(projection.outputs).reshape(heads[name], -1, size)
        rows = rows[:, index if plan.head_by_head else 0]
        if name != "v":
            rows = rows[:, order]
        made[name] = (projection, rows.reshape(-1), factor if name == "q" else 1.0)
    return made


def _order(fit: Fit, plan: AttentionPlan) -> Indices:
    """The order of a head's entries in the file."""
    size = fit.shape.head_size
    turning = plan.turning
    if turning is None or turning.pairing == fit.graph.turns:
        return np.arange(size)
    pairs = np.arange(turning.size).reshape(2, -1)  # entry d turns with entry d + half
    if turning.pairing == "neighbours":
        pairs = np.arange(turning.size).reshape(-1, 2)
    return np.concatenate([pairs.T.reshape(-1), np.arange(turning.size, size)])


def _fused(
    fit: Fit, weights: Weights, prefix: str, inputs: list[_Input]
) -> Iterator[PlannedTensor]:
    yield weights.matrix(
        f"{prefix}.attn_qkv.weight",
        [weights.part(projection.weight, which, factor) for projection, which, factor in inputs],
    )
    found = [(weights.bias(p, which), which, factor) for p, which, factor in inputs]
    if fit.graph.input_bias == "must" or any(bias is not None for bias, _, _ in found):
        biases = [
            np.zeros(len(which)) if bias is None else factor * bias for bias, which, factor in found
        ]
        yield vector(f"{prefix}.attn_qkv.bias", np.concatenate(biases))


def _gain(fit: Fit, weights: Weights, plan: AttentionPlan, norm: HeadNorm, name: str) -> Floats:
    """The gain of a norm of queries or keys, in the order of their entries."""
    size = fit.shape.head_size
    gain = weights.gain(norm.norm)
    if name == "q":
        gain = gain * np.float32(fit.query_factor(plan))
    ordered: Floats = gain.reshape(-1, size)[:, _order(fit, plan)].reshape(gain.shape)
    return ordered
