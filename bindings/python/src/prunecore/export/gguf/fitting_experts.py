# SPDX-License-Identifier: Apache-2.0
"""Whether an architecture of llama.cpp computes the mixtures of experts of a model."""

from __future__ import annotations

from collections.abc import Sequence

from prunecore.export.gguf.graph import Graph
from prunecore.export.gguf.layers import Layer
from prunecore.export.gguf.obstacle import Obstacle
from prunecore.export.gguf.plan import FeedForwardPlan, MixturePlan

_OF_GPT_OSS = (7.0, 1.702)  # of SWIGLU_OAI_MOE: constants of the graph


def check_mixtures(
    graph: Graph, layers: Sequence[Layer], plans: Sequence[FeedForwardPlan | MixturePlan]
) -> None:
    """Raises `Obstacle` if the architecture has other mixtures, or none."""
    mixtures = [plan for plan in plans if isinstance(plan, MixturePlan)]
    if graph.experts is None:
        if mixtures:
            raise Obstacle("has no mixtures of experts")
        return
    if len(mixtures) < len(plans) and (mixtures or graph.experts.are_needed):
        raise Obstacle("has a mixture of experts in every layer, and this model not")
    if mixtures and any(layer.feed_forward_bias is not None for layer in layers):
        raise Obstacle("reads no output biases of mixtures, which the adapters need")
    for plan in mixtures:
        _check_mixture(graph, plan)
    sizes = {
        (plan.chosen, len(plan.experts), _width(plan.experts[0]), _width(plan.shared))
        for plan in mixtures
    }
    if len(sizes) > 1:
        raise Obstacle("has as many experts of the same widths in all layers")


def _check_mixture(graph: Graph, plan: MixturePlan) -> None:
    experts = graph.experts
    assert experts is not None
    if plan.is_normalised != experts.is_normalised:
        raise Obstacle(
            f"{'divides' if experts.is_normalised else 'does not divide'} the weights of the "
            "chosen experts by their sum (norm_topk_prob)"
        )
    if experts.biases == "no" and (plan.router.bias or any(e.has_bias for e in plan.experts)):
        raise Obstacle("reads no biases of experts")
    if plan.shared is None and experts.shared == "must":
        raise Obstacle("needs a shared expert")
    if plan.shared is not None and (experts.shared == "no" or plan.shared.has_bias):
        raise Obstacle("has no shared expert like this model's")
    if plan.shared is not None and bool(plan.shared_gate) != experts.gates_shared:
        raise Obstacle("weighs the shared expert otherwise")
    if plan.shared_gate is not None and plan.shared_gate.bias is not None:
        raise Obstacle("has no bias in the gate of the shared expert")
    for expert in (*plan.experts, *([plan.shared] if plan.shared else [])):
        if expert.activation != graph.activation or expert.plain is not None:
            raise Obstacle(f"computes {graph.activation} in experts, with a gate")
        if expert.activation == "clamped" and not _is_of_gpt_oss(expert):
            raise Obstacle("has a swiglu_limit of 7 and a swiglu_alpha of 1.702")


def _is_of_gpt_oss(expert: FeedForwardPlan) -> bool:
    found = (expert.limit or 0.0, expert.slope or 0.0)
    return all(abs(one - own) < 1e-6 for one, own in zip(found, _OF_GPT_OSS, strict=True))


def _width(expert: FeedForwardPlan | None) -> int:
    return 0 if expert is None else expert.down.inputs
