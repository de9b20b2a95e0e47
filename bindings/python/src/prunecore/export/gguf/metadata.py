# SPDX-License-Identifier: Apache-2.0
"""The keys of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gguf

from prunecore._native.library import __version__
from prunecore.export.gguf.architecture import Architecture
from prunecore.export.gguf.layers import ZERO_WIDTH, Layer
from prunecore.export.gguf.operations import Attention, Linear
from prunecore.export.gguf.rotary import Rotary
from prunecore.shape import ModelShape

TENSORS_SHA256 = "prunecore.tensors_sha256"


def add_shape(
    writer: gguf.GGUFWriter,
    architecture: Architecture,
    shape: ModelShape,
    layers: Sequence[Layer],
    context_length: int,
    norm_epsilon: float,
) -> None:
    """Sizes: of the model, and of each layer where they differ."""
    writer.add_block_count(len(layers))
    writer.add_context_length(context_length)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_vocab_size(shape.vocabulary_size)
    writer.add_layer_norm_rms_eps(norm_epsilon)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_rope_dimension_count(shape.head_size)
    if not architecture.lists_layers:
        writer.add_head_count(shape.n_heads)
        writer.add_head_count_kv(shape.n_kv_heads)
        writer.add_feed_forward_length(shape.feed_forward_size)
        return
    # Without heads: no attention. With heads, but none of keys and values: a matrix.
    writer.add_head_count([0 if layer.attention is None else shape.n_heads for layer in layers])
    writer.add_head_count_kv(
        [shape.n_kv_heads if isinstance(layer.attention, Attention) else 0 for layer in layers]
    )
    writer.add_feed_forward_length(
        [ZERO_WIDTH if layer.feed_forward is None else shape.feed_forward_size for layer in layers]
    )


def add_rotary(writer: gguf.GGUFWriter, architecture: Architecture, rotary: Rotary) -> None:
    """The rotary embedding, but for the divisors, which are a tensor."""
    writer.add_rope_freq_base(rotary.base)
    if architecture.reads_rope_divisors:
        if rotary.attention_factor != 1.0:
            writer.add_rope_scaling_attn_factors(rotary.attention_factor)
        return
    if rotary.rule == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rotary.factor)
    elif rotary.rule == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rotary.factor)
        writer.add_rope_scaling_orig_ctx_len(round(rotary.original_context))
        if abs(rotary.named_attention_factor - 1) > 1e-9:
            writer.add_rope_scaling_attn_factors(rotary.named_attention_factor)


def add_provenance(
    writer: gguf.GGUFWriter, layers: Sequence[Layer], records: Mapping[str, Any]
) -> None:
    """What the file is made of: strings of JSON under `prunecore.*`, and room for a checksum.

    llama.cpp reads over keys that it does not know.
    """
    writer.add_string("prunecore.version", __version__)
    for name, record in records.items():
        writer.add_string(f"prunecore.{name}", json.dumps(record, ensure_ascii=False))
    writer.add_string("prunecore.layers", json.dumps([layer.describe() for layer in layers]))
    writer.add_string(TENSORS_SHA256, "0" * 64)


def linear_layers(layers: Sequence[Layer]) -> list[int]:
    """Numbers of the layers that hold a matrix in the attention slot."""
    return [n for n, layer in enumerate(layers) if isinstance(layer.attention, Linear)]
