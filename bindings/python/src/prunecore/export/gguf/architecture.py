# SPDX-License-Identifier: Apache-2.0
"""Which architecture of llama.cpp computes a pruned model."""

from __future__ import annotations

from collections.abc import Sequence

from prunecore.errors import UnsupportedError
from prunecore.export.gguf.fitting import Fit
from prunecore.export.gguf.graphs import GRAPHS, candidates
from prunecore.export.gguf.layers import Layer
from prunecore.export.gguf.obstacle import Obstacle
from prunecore.export.gguf.operations import Attention
from prunecore.export.gguf.plan import ModelPlan
from prunecore.shape import ModelShape

_ADVICE = "export whole blocks without adapters, or with format='hf'"


def choose(plan: ModelPlan, shape: ModelShape, layers: Sequence[Layer]) -> Fit:
    """The model's own architecture where that computes all layers, else one that does.

    Raises
    ------
    UnsupportedError
        None does: the text says what stands in the way.
    """
    if not any(isinstance(layer.attention, Attention) for layer in layers):
        raise UnsupportedError(
            "nothing is left of the attention, and llama.cpp makes no context for a model without "
            "keys and values: keep one attention sublayer, or export with format='hf'"
        )
    reasons = []
    for graph in candidates(plan.model_type):
        fit = Fit(graph=graph.for_layers(len(layers)), plan=plan, shape=shape, layers=layers)
        try:
            fit.check()
        except Obstacle as obstacle:
            reasons.append(f"{graph.name} {obstacle}")
        else:
            return fit
    whole = all(layer.is_whole for layer in layers)
    advice = "export with format='hf'" if whole else _ADVICE
    if any(plan.model_type in graph.families for graph in GRAPHS):
        raise UnsupportedError(
            f"llama.cpp's architecture {reasons[0]}; nor can others hold this: "
            f"{'; '.join(reasons[1:])}: {advice}"
        )
    raise UnsupportedError(
        f"llama.cpp has no architecture of its own for {plan.architecture}, and others cannot hold "
        f"it: {'; '.join(reasons)}: {advice}"
    )
