# SPDX-License-Identifier: Apache-2.0
"""The tensors of a feed-forward, or of a mixture of experts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from prunecore.export.gguf.attention_tensors import output_bias
from prunecore.export.gguf.fitting import Fit
from prunecore.export.gguf.operations import Vector
from prunecore.export.gguf.plan import FeedForwardPlan, MixturePlan, Projection
from prunecore.export.gguf.planned import Indices, PlannedTensor, vector
from prunecore.export.gguf.weights import Weights

# A projection, and which of its outputs.
_Chosen = tuple[Projection, Indices]


def feed_forward_tensors(
    fit: Fit, weights: Weights, prefix: str, block: int, added: Vector | None, has_norm: bool
) -> Iterator[PlannedTensor]:
    """All tensors of a block's feed-forward, with what is added to what it hands out.

    `has_norm`: whether what it reads has a norm of its own.
    """
    sublayer, plan = fit.plan.feed_forward(block)
    graph = fit.graph
    if has_norm and graph.norms_before and sublayer.before is not None:
        name = f"{prefix}.{graph.feed_forward_norm}"
        yield from weights.norm(name, sublayer.before, graph)
    if isinstance(plan, MixturePlan):
        yield from _mixture(weights, prefix, plan)
    else:
        yield from _dense(fit, weights, prefix, plan)
        yield weights.whole(f"{prefix}.ffn_down.weight", plan.down)
        must = graph.feed_forward_bias == "must"
        bias = output_bias(weights, sublayer, plan.down, added, must)
        if bias is not None:
            yield vector(f"{prefix}.ffn_down.bias", bias)
    if sublayer.after is not None:
        yield from weights.norm(f"{prefix}.post_ffw_norm", sublayer.after, graph)


def _dense(
    fit: Fit, weights: Weights, prefix: str, plan: FeedForwardPlan
) -> Iterator[PlannedTensor]:
    parts = _inputs(plan)
    if fit.graph.gate == "fused":
        rows = [weights.part(projection.weight, which) for projection, which in parts.values()]
        yield weights.matrix(f"{prefix}.ffn_up.weight", rows)
        return
    for name, (projection, which) in parts.items():
        part = weights.part(projection.weight, which)
        yield weights.matrix(f"{prefix}.ffn_{name}.weight", [part])
        bias = weights.bias(projection, which)
        if bias is None and fit.graph.feed_forward_bias == "must":
            bias = np.zeros(len(which), dtype=np.float32)
        if bias is not None:
            yield vector(f"{prefix}.ffn_{name}.bias", bias)


def _inputs(plan: FeedForwardPlan) -> dict[str, _Chosen]:
    """Gate and up, or up alone."""
    if plan.alternating is not None:
        outputs = np.arange(plan.alternating.outputs)
        return {"gate": (plan.alternating, outputs[::2]), "up": (plan.alternating, outputs[1::2])}
    found = {"gate": plan.gate, "up": plan.up or plan.plain}
    return {
        name: (projection, np.arange(projection.outputs))
        for name, projection in found.items()
        if projection is not None
    }


def _mixture(weights: Weights, prefix: str, plan: MixturePlan) -> Iterator[PlannedTensor]:
    """Float32 for what chooses and weighs experts, as llama.cpp's converter has it."""
    router = plan.router
    yield vector(
        f"{prefix}.ffn_gate_inp.weight",
        weights.part(router.weight, np.arange(router.outputs)).rows(0, router.outputs),
    )
    bias = weights.bias(router)
    if bias is not None:
        yield vector(f"{prefix}.ffn_gate_inp.bias", bias)
    inputs = [_inputs(expert) for expert in plan.experts]
    for name in ("gate", "up"):
        yield from _stacked(weights, f"{prefix}.ffn_{name}_exps", [part[name] for part in inputs])
    down = [(expert.down, np.arange(expert.down.outputs)) for expert in plan.experts]
    yield from _stacked(weights, f"{prefix}.ffn_down_exps", down)
    if plan.shared is None:
        return
    if plan.shared_gate is not None:
        gate = weights.part(plan.shared_gate.weight, np.arange(1)).rows(0, 1)
        yield vector(f"{prefix}.ffn_gate_inp_shexp.weight", gate.reshape(-1))
    for name, (projection, which) in _inputs(plan.shared).items():
        part = weights.part(projection.weight, which)
        yield weights.matrix(f"{prefix}.ffn_{name}_shexp.weight", [part])
    yield weights.whole(f"{prefix}.ffn_down_shexp.weight", plan.shared.down)


def _stacked(weights: Weights, name: str, experts: Sequence[_Chosen]) -> Iterator[PlannedTensor]:
    """A projection of all experts, one after the other."""
    parts = [weights.part(projection.weight, which) for projection, which in experts]
    shape = (len(parts), len(parts[0].which), experts[0][0].inputs)
    yield weights.matrix(f"{name}.weight", parts, shape)
    biases = [weights.bias(projection, which) for projection, which in experts]
    found = [bias for bias in biases if bias is not None]
    if found:
        yield vector(f"{name}.bias", np.stack(found))
