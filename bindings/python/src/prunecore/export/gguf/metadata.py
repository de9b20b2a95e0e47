# SPDX-License-Identifier: Apache-2.0
"""The keys of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gguf

from prunecore._native.library import __version__
from prunecore.export.gguf.fitting import Fit
from prunecore.export.gguf.layers import ZERO_WIDTH, Layer
from prunecore.export.gguf.operations import Attention, Linear
from prunecore.export.gguf.plan import MixturePlan

TENSORS_SHA256 = "prunecore.tensors_sha256"


def add_shape(writer: gguf.GGUFWriter, fit: Fit, context_length: int) -> None:
    """Sizes: of the model, and of each layer where they differ."""
    shape, layers = fit.shape, fit.layers
    writer.add_block_count(len(layers))
    writer.add_context_length(context_length)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_vocab_size(shape.vocabulary_size)
    final = fit.plan.final_norm
    epsilon = 0.0 if final is None else final.epsilon
    if fit.graph.norm == "rms":
        writer.add_layer_norm_rms_eps(epsilon)
    else:
        writer.add_layer_norm_eps(epsilon)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    if not fit.graph.lists_layers:
        writer.add_head_count(shape.n_heads)
        writer.add_head_count_kv(shape.n_kv_heads)
        writer.add_feed_forward_length(next(iter(_widths(fit)), ZERO_WIDTH))
        return
    # Without heads: no attention. With heads, but none of keys and values: a matrix.
    writer.add_head_count([0 if layer.attention is None else shape.n_heads for layer in layers])
    writer.add_head_count_kv(
        [shape.n_kv_heads if isinstance(layer.attention, Attention) else 0 for layer in layers]
    )
    widths = iter(_widths(fit))
    writer.add_feed_forward_length(
        [ZERO_WIDTH if layer.feed_forward is None else next(widths) for layer in layers]
    )


def _widths(fit: Fit) -> list[int]:
    """Of each feed-forward that is left, or of an expert of it."""
    parts = (plan for _, plan in fit.feed_forwards)
    return [
        (plan.experts[0] if isinstance(plan, MixturePlan) else plan).down.inputs for plan in parts
    ]


def add_computation(writer: gguf.GGUFWriter, fit: Fit) -> None:
    """What the graph computes besides: angles, windows, scales, caps and experts."""
    for key, value in {**fit.rotary.keys, **_windows(fit), **_scales(fit), **_experts(fit)}.items():
        name = f"{fit.graph.name}.{key}"
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        else:
            writer.add_array(name, value)


def _windows(fit: Fit) -> dict[str, Any]:
    """The length of windows, and which layers have one."""
    if fit.graph.windows == "no" or (fit.graph.windows == "may" and not fit.windows):
        return {}
    listed = [bool(plan.window) for _, plan in fit.attentions]
    return {
        # Where no layer has one, the number says nothing.
        "attention.sliding_window": max(fit.windows, default=fit.shape.context_length),
        "attention.sliding_window_pattern": listed,
    }


def _scales(fit: Fit) -> dict[str, Any]:
    graph, plan = fit.graph, fit.plan
    made: dict[str, Any] = {}
    if graph.embedding_scale == "key":
        made["embedding_scale"] = plan.embedding_scale
    if graph.reads_scale:
        made["attention.scale"] = fit.own_scale
    if graph.scales_updates:
        made["residual_scale"] = fit.attentions[0][0].scale
    if graph.logit_scale and plan.final_norm is not None:
        factor = plan.final_norm.factor
        made["logit_scale"] = factor if graph.logit_scale == "times" else 1 / factor
    if (clip := fit.attentions[0][1].clip) is not None:
        made["attention.clamp_kqv"] = clip
    if graph.score_cap:
        made["attn_logit_softcapping"] = fit.attentions[0][1].soft_cap
    if plan.head_cap is not None:
        made["final_logit_softcapping"] = plan.head_cap
    if graph.says_order:
        made["use_parallel_residual"] = fit.order(fit.layers[0]) != "sequential"
    return made


def _experts(fit: Fit) -> dict[str, Any]:
    plan = next((p for _, p in fit.feed_forwards if isinstance(p, MixturePlan)), None)
    if plan is None:
        return {}
    made = {
        "expert_count": len(plan.experts),
        "expert_used_count": plan.chosen,
        "expert_feed_forward_length": plan.experts[0].down.inputs,
    }
    if plan.shared is not None:
        made["expert_shared_feed_forward_length"] = plan.shared.down.inputs
    return made


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
