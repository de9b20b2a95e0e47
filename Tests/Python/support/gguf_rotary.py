# SPDX-License-Identifier: Apache-2.0
"""Heads turned by position as `ggml_rope_ext` turns them: see `GGUFDecoder`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gguf_decoder import GGUFDecoder

Array = np.ndarray


def turned(decoder: GGUFDecoder, rows: Array, layer: int, windowed: bool) -> Array:
    """Rows of shape (n_tokens, heads, size)."""
    style = decoder.style
    if not style.turns or (style.window_turns and not windowed):
        return rows
    if style.whole_every and (layer + 1) % style.whole_every == 0:
        return rows
    turning = decoder.key("rope.dimension_count", rows.shape[2])
    if decoder.architecture in ("llama", "deci"):
        assert turning == rows.shape[2], "invalid n_rot"
    frequencies, scale = _frequencies(decoder, turning, windowed, len(rows))
    angles = np.arange(len(rows))[:, None, None] * frequencies
    cos, sin = np.cos(angles) * scale, np.sin(angles) * scale
    part, rest = rows[..., :turning], rows[..., turning:]
    if style.neighbours:
        first, second = part[..., 0::2], part[..., 1::2]
    else:
        first, second = part[..., : turning // 2], part[..., turning // 2 :]
    pair = (first * cos - second * sin, first * sin + second * cos)
    if style.neighbours:
        made = np.stack(pair, axis=-1).reshape(part.shape)
    else:
        made = np.concatenate(pair, axis=-1)
    return np.concatenate([made, rest], axis=-1)


def _frequencies(
    decoder: GGUFDecoder, size: int, windowed: bool, context: int
) -> tuple[Array, float]:
    """Of each pair, and what cos and sin are multiplied by."""
    style = decoder.style
    base = decoder.key("rope.freq_base")
    if windowed and style.window_base:
        base = decoder.key("rope.freq_base_swa", 10000.0)
    plain = base ** -(np.arange(0, size, 2) / size)
    scale = decoder.key("rope.scaling.attn_factor", 1.0)
    kind = decoder.key("rope.scaling.type", "none")
    if windowed and style.window_plain:
        return plain, 1.0
    if windowed and style.window_base:
        assert kind in ("none", "linear"), "yarn is computed in these layers, too"
        return plain, scale
    plain = plain / _divisors(decoder, size, context)
    factor = decoder.key("rope.scaling.factor", 1.0)
    if kind == "yarn":
        return _yarn(decoder, plain, base, factor), scale * (1 + 0.1 * math.log(factor))
    assert kind in ("none", "linear", "longrope")
    return plain / factor, scale


def _divisors(decoder: GGUFDecoder, size: int, context: int) -> Array | float:
    if decoder.style.divides and "rope_freqs.weight" in decoder.tensors:
        return decoder.tensor("rope_freqs.weight", (size // 2,))
    if decoder.style.long and "rope_factors_long.weight" in decoder.tensors:
        long, short = (
            decoder.tensor(f"rope_factors_{kind}.weight", (size // 2,))
            for kind in ("long", "short")
        )
        original = decoder.key("rope.scaling.original_context_length", context)
        return long if context > original else short
    return 1.0


def _yarn(decoder: GGUFDecoder, plain: Array, base: float, factor: float) -> Array:
    """`ggml_rope_yarn_corr_dims` with betas of 32 and 1, and `rope_yarn`."""
    size = 2 * len(plain)
    original = decoder.key("rope.scaling.original_context_length")
    start, end = (
        size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))
        for turns in (32, 1)
    )
    low, high = max(0, math.floor(start)), min(size - 1, math.ceil(end))
    ramp = 1 - np.clip((np.arange(len(plain)) - low) / max(0.001, high - low), 0, 1)
    return plain / factor * (1 - ramp) + plain * ramp
