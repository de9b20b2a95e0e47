# SPDX-License-Identifier: Apache-2.0
"""Configurations of models with fewer blocks, where lists and patterns speak of their numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Values = dict[str, Any]


def renumber(file: Path, before: Values, kept: list[int], count: int) -> None:
    """Has config.json say of the blocks that are left what was said of them under other numbers.

    Lists with an entry per block, and the number of blocks, are right in it already. What else
    there is shows when the model is loaded and compared.

    Parameters
    ----------
    file : Path
        config.json, as transformers wrote it for the pruned model.
    before : dict
        The configuration of the whole model: that of its decoder.
    kept : list of int
        Numbers of the blocks that are left.
    count : int
        How many there were.
    """
    record: Values = json.loads(file.read_text(encoding="utf-8"))
    inner = record.get("text_config")
    own = inner if isinstance(inner, dict) else record
    for rule in _RULES:
        own.update(rule(before, kept, count))
    file.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _dense_blocks(before: Values, kept: list[int], _count: int) -> Values:
    """Blocks without a mixture of experts, which Qwen's mixtures list, or count off."""
    if "decoder_sparse_step" not in before:
        return {}
    step, listed = int(before["decoder_sparse_step"] or 1), before.get("mlp_only_layers") or []
    dense = [new for new, old in enumerate(kept) if old in listed or (old + 1) % step]
    return {"decoder_sparse_step": 1, "mlp_only_layers": dense}


def _first_dense(before: Values, kept: list[int], count: int) -> Values:
    """How many blocks come before the first of a kind."""
    names = ("first_k_dense_replace", "max_window_layers", "num_dense_layers")
    return {
        name: sum(block < before[name] for block in kept)
        for name in names
        if isinstance(before.get(name), int) and before[name] <= count
    }


def _attention_types(before: Values, kept: list[int], count: int) -> Values:
    """GPT-Neo's kinds of attention, as runs of which each is repeated."""
    kinds = before.get("attention_layers")
    if before.get("attention_types") is None or len(kinds or ()) != count:
        return {}
    return {"attention_types": [[[kinds[block]], 1] for block in kept] if kinds else []}


_RULES: tuple[Callable[[Values, list[int], int], Values], ...] = (
    _dense_blocks,
    _first_dense,
    _attention_types,
)
