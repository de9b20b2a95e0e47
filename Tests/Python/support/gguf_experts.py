# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts as `build_moe_ffn` of llama.cpp computes them: see `GGUFDecoder`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gguf_decoder import GGUFDecoder

Array = np.ndarray


def mixture(decoder: GGUFDecoder, prefix: str, normed: Array) -> Array:
    """What the experts of a layer, and a shared one, make of normed rows."""
    count, chosen = decoder.key("expert_count"), decoder.key("expert_used_count")
    scores = normed @ decoder.tensor(f"{prefix}.ffn_gate_inp.weight").T
    parts = [decoder.tensor(f"{prefix}.ffn_{part}_exps.weight") for part in ("gate", "up", "down")]
    biases = [0.0, 0.0, 0.0]
    if decoder.style.act == "oai":
        scores = scores + decoder.tensor(f"{prefix}.ffn_gate_inp.bias")
        biases = [decoder.tensor(f"{prefix}.ffn_{p}_exps.bias") for p in ("gate", "up", "down")]
    assert all(len(part) == count for part in parts)
    made = np.zeros_like(normed)
    for row, x in enumerate(normed):
        best = np.argsort(-scores[row], kind="stable")[:chosen]
        weights = np.exp(scores[row] - scores[row].max())
        weights /= weights[best].sum() if decoder.style.act == "oai" else weights.sum()
        if decoder.style.normalised:
            weights = weights / weights[best].sum()
        for expert in best:
            gate, up = (
                parts[i][expert] @ x + (biases[i][expert] if decoder.style.act == "oai" else 0.0)
                for i in (0, 1)
            )
            inner = _clamped(gate, up) if decoder.style.act == "oai" else decoder.act(gate) * up
            made[row] += weights[expert] * (parts[2][expert] @ inner)
            if decoder.style.act == "oai":
                made[row] += weights[expert] * biases[2][expert]
    if f"{prefix}.ffn_down_shexp.weight" in decoder.tensors:
        width = decoder.key("expert_shared_feed_forward_length")
        shared = decoder.dense(f"{prefix}.ffn", normed, width, "_shexp")
        if decoder.architecture == "qwen2moe":
            gate = decoder.tensor(f"{prefix}.ffn_gate_inp_shexp.weight", (normed.shape[1],))
            shared = shared / (1 + np.exp(-(normed @ gate)))[:, None]
        made = made + shared
    return made


def _clamped(gate: Array, up: Array) -> Array:
    """`ggml_swiglu_oai` with the constants of the graph."""
    gate, up = np.minimum(gate, 7.0), np.clip(up, -7.0, 7.0)
    return gate / (1 + np.exp(-1.702 * gate)) * (up + 1)
