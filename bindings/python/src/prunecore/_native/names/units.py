# SPDX-License-Identifier: Apache-2.0
"""Names of sublayers and of the units of a granularity."""

from __future__ import annotations

from typing import Literal

from prunecore._native.names.tables import Granularity
from prunecore.errors import ArgumentError


def parse_only(name: str | None) -> Literal["attention", "feed_forward"] | None:
    """Reads the choice of a kind of sublayer; None is both."""
    if name is None:
        return None
    wanted = str(name).strip().replace("-", "_")
    if wanted == "attention":
        return "attention"
    if wanted == "feed_forward":
        return "feed_forward"
    raise ArgumentError(f"unknown kind of sublayer '{name}': give attention or feed_forward")


def unit_count(granularity: Granularity, n_blocks: int) -> int:
    """How many units a model of n_blocks blocks has."""
    return 2 * n_blocks if granularity == "sublayer" else n_blocks


def sublayer_name(index: int) -> str:
    """Name of sublayer u: "attn.3" for 6, "ffn.3" for 7."""
    return f"{'ffn' if index % 2 else 'attn'}.{index // 2}"


def unit_names(granularity: Granularity, n_blocks: int) -> tuple[str, ...]:
    """Names of all units: "attn.3" and "ffn.3" for sublayers, "block.3" for blocks."""
    if granularity == "sublayer":
        return tuple(sublayer_name(index) for index in range(2 * n_blocks))
    prefix = {"block": "block", "attention": "attn", "feed_forward": "ffn"}[granularity]
    return tuple(f"{prefix}.{block}" for block in range(n_blocks))
