# SPDX-License-Identifier: Apache-2.0
"""What a model is made of, and what a mask leaves of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prunecore._native.library import _check, ffi, lib, new_struct, text
from prunecore._native.names.tables import COMPUTE, Compute
from prunecore._native.names.units import sublayer_name


@dataclass(frozen=True)
class ModelShape:
    """Shape of a model.

    Attributes
    ----------
    architecture : str
        Such as "LlamaForCausalLM".
    element_type : str
        Most frequent storage type of the weights: "bf16", "fp16", "fp32", or a quantised one
        such as "q4_k".
    n_blocks, hidden_size, feed_forward_size, n_heads, n_kv_heads, head_size, vocabulary_size : int
        Sizes.
    context_length : int
        Positions the model was made for; longer sequences are computed all the same.
    tied_embeddings : bool
        Whether the head uses the embedding matrix.
    parameters : int
        Of the whole model, a tied matrix counted once.
    parameter_bytes : int
        As stored.
    kv_bytes : int
        Of all attention layers, in the stored type.
    compute : {"float32", "bfloat16"}
        What matrix products multiply in.
    abilities : int
        Bits PRUNE_ABILITY_* of the header: what the model can do.
    absent : tuple of str
        Sublayers that are no part of the model, since it was pruned before it was opened:
        ("attn.3", "ffn.7"). They cost nothing, and no mask brings them back.
    """

    architecture: str
    element_type: str
    n_blocks: int
    hidden_size: int
    feed_forward_size: int
    n_heads: int
    n_kv_heads: int
    head_size: int
    vocabulary_size: int
    context_length: int
    tied_embeddings: bool
    parameters: int
    parameter_bytes: int
    kv_bytes: int
    compute: Compute
    abilities: int
    absent: tuple[str, ...] = ()

    @property
    def can_read_states(self) -> bool:
        """Whether hidden states can be read or compared: static metrics work."""
        return bool(self.abilities & ffi.integer_const("PRUNE_ABILITY_READ_STATES"))

    @property
    def can_read_weights(self) -> bool:
        """Whether weights can be read: the magnitude metric works."""
        return bool(self.abilities & ffi.integer_const("PRUNE_ABILITY_MAGNITUDE"))

    @property
    def can_generate(self) -> bool:
        """Whether the model can write text."""
        return bool(self.abilities & ffi.integer_const("PRUNE_ABILITY_GENERATE"))

    @property
    def has_gradients(self) -> bool:
        """Whether there are gradients: training and the taylor metric work."""
        return bool(self.abilities & ffi.integer_const("PRUNE_ABILITY_GRADIENTS"))

    @property
    def runs_sublayers(self) -> bool:
        """Whether the model runs sublayer by sublayer; without, there are losses of masks only."""
        return bool(self.abilities & ffi.integer_const("PRUNE_ABILITY_STATES"))

    @property
    def removes_sublayers(self) -> bool:
        """Whether sublayers can be removed one by one; without, both of a block or none."""
        return bool(self.abilities & ffi.integer_const("PRUNE_ABILITY_SUBLAYERS"))

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return {**asdict(self), "absent": list(self.absent)}


@dataclass(frozen=True)
class Sublayer:
    """One sublayer, and what removing it saves.

    Attributes
    ----------
    block : int
        0 .. n_blocks - 1.
    is_feed_forward : bool
        False = attention.
    parameters, parameter_bytes : int
        Its matrices, biases and norms; bytes as stored.
    kv_bytes : int
        0 for feed-forward.
    window : int
        Attention: tokens a query sees at most, itself included; 0 = all before it.
    """

    block: int
    is_feed_forward: bool
    parameters: int
    parameter_bytes: int
    kv_bytes: int
    window: int

    @property
    def name(self) -> str:
        """Such as "attn.12", or "ffn.12" for the feed-forward."""
        return sublayer_name(2 * self.block + self.is_feed_forward)


@dataclass(frozen=True)
class Cost:
    """What a mask leaves of a model.

    Attributes
    ----------
    sublayers_removed : int
        How many sublayers the mask removes.
    parameters, parameter_bytes : int
        Kept, embeddings and head included; bytes as stored.
    kv_bytes : int
        Of the kept attention layers.
    active_parameters : int
        Parameters that one token meets: of a mixture of experts, those of the experts that are not
        chosen for it left out.
    """

    sublayers_removed: int
    parameters: int
    parameter_bytes: int
    kv_bytes: int
    active_parameters: int

    def to_dict(self) -> dict[str, int]:
        """All fields, for JSON."""
        return asdict(self)


def read_shape(model: Any) -> ModelShape:
    """Asks the library for the shape of a model, given its C handle."""
    shape = new_struct("prune_model_shape")
    _check(lib.prune_model_info(model, shape))
    keep = ffi.new("uint8_t[]", 2 * shape.n_blocks)
    _check(lib.prune_model_mask_own(model, keep, len(keep), ffi.NULL))
    return ModelShape(
        architecture=text(shape.architecture),
        element_type=text(shape.element_type),
        n_blocks=shape.n_blocks,
        hidden_size=shape.hidden_size,
        feed_forward_size=shape.feed_forward_size,
        n_heads=shape.n_heads,
        n_kv_heads=shape.n_kv_heads,
        head_size=shape.head_size,
        vocabulary_size=shape.vocabulary_size,
        context_length=shape.context_length,
        tied_embeddings=bool(shape.tied_embeddings),
        parameters=shape.parameters,
        parameter_bytes=shape.parameter_bytes,
        kv_bytes=shape.kv_bytes,
        compute=COMPUTE.name(shape.compute),
        abilities=shape.abilities,
        absent=tuple(sublayer_name(index) for index in range(len(keep)) if not keep[index]),
    )


def read_sublayers(model: Any, n_blocks: int) -> list[Sublayer]:
    """Asks the library for the sublayers of a model, given its C handle."""
    out = ffi.new("prune_sublayer[]", 2 * n_blocks)
    count = ffi.new("size_t *")
    _check(lib.prune_model_sublayers(model, out, len(out), count))
    return [
        Sublayer(
            block=row.block,
            is_feed_forward=bool(row.is_feed_forward),
            parameters=row.parameters,
            parameter_bytes=row.parameter_bytes,
            kv_bytes=row.kv_bytes,
            window=row.window,
        )
        for row in out[0 : count[0]]
    ]


def read_cost(model: Any, keep: Any, n_keep: int) -> Cost:
    """Asks the library what a mask leaves of a model, given a C handle and a pointer."""
    cost = new_struct("prune_cost")
    _check(lib.prune_model_cost(model, keep, n_keep, cost))
    return Cost(
        sublayers_removed=cost.sublayers_removed,
        parameters=cost.parameters,
        parameter_bytes=cost.parameter_bytes,
        kv_bytes=cost.kv_bytes,
        active_parameters=cost.active_parameters,
    )
