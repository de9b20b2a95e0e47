# SPDX-License-Identifier: Apache-2.0
"""The tensors of a GGUF file: names, shapes, types, and where their rows come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gguf
import numpy as np
import numpy.typing as npt

from prunecore.export.gguf.architecture import Architecture
from prunecore.export.gguf.layers import ZERO_WIDTH, Layer
from prunecore.export.gguf.number_types import NumberTypes
from prunecore.export.gguf.operations import Attention, Linear, Vector
from prunecore.shape import ModelShape
from prunecore.tensors.stored import Floats, StoredTensors

if TYPE_CHECKING:
    from prunecore.recovery.adapters import Adapters

Rows = Callable[[slice], Floats]


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor to write.

    Attributes
    ----------
    name : str
        In the GGUF file.
    shape : tuple of int
        Rows first, as NumPy has it; the file lists it the other way round.
    type : gguf.GGMLQuantizationType
        Of its numbers in the file.
    rows : callable
        Given a slice of the rows (of a vector: entries), their values in float32.
    """

    name: str
    shape: tuple[int, ...]
    type: gguf.GGMLQuantizationType
    rows: Rows


class TensorPlan:
    """Lists the tensors of a pruned model.

    Parameters
    ----------
    shape : ModelShape
        Of the whole model.
    stored : StoredTensors
        Its weights.
    adapters : Adapters or None
        What `Linear` layers take their matrices from.
    architecture : Architecture
        Of the file.
    types : NumberTypes
        Of the numbers in it.
    """

    def __init__(
        self,
        shape: ModelShape,
        stored: StoredTensors,
        adapters: Adapters | None,
        architecture: Architecture,
        types: NumberTypes,
    ) -> None:
        self._shape = shape
        self._stored = stored
        self._adapters = adapters
        self._architecture = architecture
        self._types = types

    def tensors(
        self, layers: Sequence[Layer], rope_divisors: npt.NDArray[np.float64] | None
    ) -> Iterator[PlannedTensor]:
        """All tensors, in the order of the file."""
        yield self._copy("token_embd.weight", "model.embed_tokens.weight")
        if rope_divisors is not None:
            yield self._vector("rope_freqs.weight", rope_divisors.astype(np.float32))
        for number, layer in enumerate(layers):
            yield from self._layer(f"blk.{number}", layer)
        yield self._copy("output_norm.weight", "model.norm.weight")
        if not self._shape.tied_embeddings:
            yield self._copy("output.weight", "lm_head.weight")

    def _layer(self, prefix: str, layer: Layer) -> Iterator[PlannedTensor]:
        if isinstance(layer.attention, Attention):
            yield from self._attention(prefix, layer.attention.block, layer.attention_bias)
        elif isinstance(layer.attention, Linear):
            yield from self._linear(prefix, layer.attention)
        if layer.feed_forward is not None:
            block = f"model.layers.{layer.feed_forward.block}"
            yield self._copy(
                f"{prefix}.ffn_norm.weight", f"{block}.post_attention_layernorm.weight"
            )
            for part in ("gate", "up"):
                source = f"{block}.mlp.{part}_proj"
                yield self._copy(f"{prefix}.ffn_{part}.weight", f"{source}.weight")
                yield from self._bias(f"{prefix}.ffn_{part}.bias", f"{source}.bias")
            yield self._copy(f"{prefix}.ffn_down.weight", f"{block}.mlp.down_proj.weight")
            source = f"{block}.mlp.down_proj.bias"
            yield from self._bias(f"{prefix}.ffn_down.bias", source, layer.feed_forward_bias)
        else:
            width = self._shape.hidden_size
            yield self._vector(f"{prefix}.ffn_norm.weight", np.ones(width, dtype=np.float32))
            yield self._zeros(f"{prefix}.ffn_gate.weight", (ZERO_WIDTH, width))
            yield self._zeros(f"{prefix}.ffn_up.weight", (ZERO_WIDTH, width))
            yield self._zeros(f"{prefix}.ffn_down.weight", (width, ZERO_WIDTH))
            if layer.feed_forward_bias is not None:
                yield self._vector(f"{prefix}.ffn_down.bias", layer.feed_forward_bias)

    def _attention(self, prefix: str, block: int, added: Vector | None) -> Iterator[PlannedTensor]:
        source = f"model.layers.{block}"
        yield self._copy(f"{prefix}.attn_norm.weight", f"{source}.input_layernorm.weight")
        heads = {"q": self._shape.n_heads, "k": self._shape.n_kv_heads, "v": None}
        for part, count in heads.items():
            order = self._order(count)
            stored = f"{source}.self_attn.{part}_proj"
            yield self._copy(f"{prefix}.attn_{part}.weight", f"{stored}.weight", order)
            yield from self._bias(f"{prefix}.attn_{part}.bias", f"{stored}.bias", order=order)
        for part in ("q", "k"):
            norm = f"{source}.self_attn.{part}_norm.weight"
            if norm in self._stored:
                yield self._copy(f"{prefix}.attn_{part}_norm.weight", norm)
        yield self._copy(f"{prefix}.attn_output.weight", f"{source}.self_attn.o_proj.weight")
        stored = f"{source}.self_attn.o_proj.bias"
        yield from self._bias(f"{prefix}.attn_output.bias", stored, added)

    def _linear(self, prefix: str, linear: Linear) -> Iterator[PlannedTensor]:
        width = self._shape.hidden_size
        if linear.sublayer is None or self._adapters is None:
            yield self._vector(f"{prefix}.attn_norm.weight", np.ones(width, dtype=np.float32))
            yield self._zeros(f"{prefix}.attn_output.weight", (width, width))
            return
        gain = self._adapters.get(linear.sublayer, "norm")
        yield self._vector(f"{prefix}.attn_norm.weight", gain)
        adapters, sublayer = self._adapters, linear.sublayer
        yield PlannedTensor(
            name=f"{prefix}.attn_output.weight",
            shape=(width, width),
            type=self._types.of_adapter(width),
            rows=lambda rows: matrix_rows(adapters, sublayer, rows),
        )

    def _order(self, heads: int | None) -> npt.NDArray[np.int64] | None:
        """The order of rows of queries or keys; None = as stored."""
        if heads is None or not self._architecture.turns_neighbours:
            return None
        size = self._shape.head_size
        indices = np.arange(heads * size, dtype=np.int64).reshape(heads, 2, size // 2)
        order: npt.NDArray[np.int64] = indices.swapaxes(1, 2).reshape(-1)
        return order

    def _copy(
        self, name: str, source: str, order: npt.NDArray[np.int64] | None = None
    ) -> PlannedTensor:
        stored = self._stored[source]

        def rows(which: slice) -> Floats:
            return stored.rows(which if order is None else order[which])

        return PlannedTensor(
            name=name, shape=stored.shape, type=self._types.of_stored(stored), rows=rows
        )

    def _bias(
        self,
        name: str,
        source: str,
        added: Vector | None = None,
        order: npt.NDArray[np.int64] | None = None,
    ) -> Iterator[PlannedTensor]:
        """The model's own bias, if it has one, plus what is folded into it."""
        own = self._stored.get(source)
        if own is not None:
            values = own.rows(slice(None) if order is None else order)
            yield self._vector(name, values if added is None else values + added)
        elif added is not None:
            yield self._vector(name, added)

    def _vector(self, name: str, values: Floats) -> PlannedTensor:
        return PlannedTensor(
            name=name,
            shape=values.shape,
            type=gguf.GGMLQuantizationType.F32,
            rows=lambda rows: values[rows],
        )

    def _zeros(self, name: str, shape: tuple[int, int]) -> PlannedTensor:
        def rows(which: slice) -> Floats:
            return np.zeros((len(range(shape[0])[which]), shape[1]), dtype=np.float32)

        return PlannedTensor(name=name, shape=shape, type=self._types.of_zeros(shape[1]), rows=rows)


def matrix_rows(adapters: Adapters, sublayer: int, rows: slice) -> Floats:
    """Rows of an adapter's matrix; of low rank, multiplied out in double precision."""
    if adapters[sublayer].kind == "linear":
        return adapters.get(sublayer, "matrix")[rows]
    up = adapters.get(sublayer, "up")[rows].astype(np.float64)
    return (up @ adapters.get(sublayer, "down").astype(np.float64)).astype(np.float32)
