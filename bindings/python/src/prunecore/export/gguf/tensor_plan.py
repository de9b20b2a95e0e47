# SPDX-License-Identifier: Apache-2.0
"""The tensors of a GGUF file, in its order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from prunecore.export.gguf.attention_tensors import attention_tensors
from prunecore.export.gguf.feed_forward_tensors import feed_forward_tensors
from prunecore.export.gguf.fitting import Fit
from prunecore.export.gguf.layers import ZERO_WIDTH, Layer
from prunecore.export.gguf.operations import Attention, Linear
from prunecore.export.gguf.planned import PlannedTensor, vector, zeros
from prunecore.export.gguf.weights import Weights
from prunecore.tensors.stored import Floats

if TYPE_CHECKING:
    from prunecore.recovery.adapters import Adapters


class TensorPlan:
    """Lists the tensors of a pruned model.

    Parameters
    ----------
    fit : Fit
        The architecture of the file, and what it holds.
    weights : Weights
        Of the whole model.
    adapters : Adapters or None
        What `Linear` layers take their matrices from.
    """

    def __init__(self, fit: Fit, weights: Weights, adapters: Adapters | None) -> None:
        self._fit = fit
        self._weights = weights
        self._types = weights.types
        self._adapters = adapters

    def tensors(self) -> Iterator[PlannedTensor]:
        """All tensors, in the order of the file."""
        plan, graph = self._fit.plan, self._fit.graph
        yield self._weights.copy("token_embd.weight", plan.embedding)
        if plan.positions is not None:
            name, first = plan.positions
            positions = self._weights.tensor(name).rows(slice(first, None))
            yield vector("position_embd.weight", positions)
        for tensor, values in self._fit.rotary.tensors.items():
            yield vector(tensor, values)
        for number, layer in enumerate(self._fit.layers):
            yield from self._layer(f"blk.{number}", layer)
        if plan.final_norm is not None:
            factor = 1.0 if graph.logit_scale else None  # then a key says it
            yield from self._weights.norm("output_norm", plan.final_norm, graph, factor)
        if not plan.is_tied or graph.output == "own":
            source = plan.embedding if plan.is_tied else plan.head
            yield self._weights.copy("output.weight", source)
        if plan.head_bias is not None:
            yield vector("output.bias", self._weights.tensor(plan.head_bias).rows(slice(None)))
        elif graph.head_bias == "must":
            yield vector("output.bias", np.zeros(self._fit.shape.vocabulary_size))

    def _layer(self, prefix: str, layer: Layer) -> Iterator[PlannedTensor]:
        fit, weights = self._fit, self._weights
        if isinstance(layer.attention, Attention):
            block, bias = layer.attention.block, layer.attention_bias
            yield from attention_tensors(fit, weights, prefix, block, bias)
        elif isinstance(layer.attention, Linear):
            yield from self._linear(prefix, layer.attention)
        if layer.feed_forward is not None:
            block, bias = layer.feed_forward.block, layer.feed_forward_bias
            has_norm = fit.order(layer) != "one norm"
            yield from feed_forward_tensors(fit, weights, prefix, block, bias, has_norm)
            return
        width = fit.shape.hidden_size
        yield vector(f"{prefix}.ffn_norm.weight", np.ones(width))
        for name, shape in (
            ("gate", (ZERO_WIDTH, width)),
            ("up", (ZERO_WIDTH, width)),
            ("down", (width, ZERO_WIDTH)),
        ):
            kind = self._types.of_zeros(shape[1])
            yield zeros(f"{prefix}.ffn_{name}.weight", shape, kind)
        if layer.feed_forward_bias is not None:
            yield vector(f"{prefix}.ffn_down.bias", layer.feed_forward_bias)

    def _linear(self, prefix: str, linear: Linear) -> Iterator[PlannedTensor]:
        width = self._fit.shape.hidden_size
        if linear.sublayer is None or self._adapters is None:
            yield vector(f"{prefix}.attn_norm.weight", np.ones(width))
            kind = self._types.of_zeros(width)
            yield zeros(f"{prefix}.attn_output.weight", (width, width), kind)
            return
        adapters, sublayer = self._adapters, linear.sublayer
        yield vector(f"{prefix}.attn_norm.weight", adapters.get(sublayer, "norm"))
        yield PlannedTensor(
            name=f"{prefix}.attn_output.weight",
            shape=(width, width),
            type=self._types.of_adapter(width),
            rows=lambda rows: matrix_rows(adapters, sublayer, rows),
        )


def matrix_rows(adapters: Adapters, sublayer: int, rows: slice) -> Floats:
    """Rows of an adapter's matrix; of low rank, multiplied out in double precision."""
    if adapters[sublayer].kind == "linear":
        return adapters.get(sublayer, "matrix")[rows]
    up = adapters.get(sublayer, "up")[rows].astype(np.float64)
    return (up @ adapters.get(sublayer, "down").astype(np.float64)).astype(np.float32)
