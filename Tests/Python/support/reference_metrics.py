# SPDX-License-Identifier: Apache-2.0
"""The static metrics in NumPy, float64, straight from their definitions.

With h the hidden state before a unit, g the one after it and u = g - h, per token; a score is the
mean over the tokens looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

STATIC = ("cosine", "angular", "l1", "l2", "relative_l1", "relative_l2")


def units(granularity: str, n_blocks: int) -> list[range]:
    """The sublayers of each unit, in order."""
    step, width, first = {
        "sublayer": (1, 1, 0),
        "block": (2, 2, 0),
        "attention": (2, 1, 0),
        "feed_forward": (2, 1, 1),
    }[granularity]
    return [range(u, u + width) for u in range(first, 2 * n_blocks, step)]


def scores(
    states: np.ndarray,
    rows: np.ndarray,
    granularity: str,
    relative_to: str = "input",
    keep: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Every static metric of every unit.

    states: (2 * n_blocks + 1, tokens, hidden); rows: the tokens to look at; keep: a unit that it
    removes wholly leaves the state as it is and scores 0.
    """
    found: dict[str, list[float]] = {metric: [] for metric in STATIC}
    for unit in units(granularity, len(states) // 2):
        removed = keep is not None and not np.asarray(keep)[list(unit)].any()
        before, after = states[unit.start][rows], states[unit.stop][rows]
        for metric, values in per_token(before, after, relative_to).items():
            found[metric].append(0.0 if removed else float(values.mean()))
    return {metric: np.array(values) for metric, values in found.items()}


def per_token(
    before: np.ndarray, after: np.ndarray, relative_to: str = "input"
) -> dict[str, np.ndarray]:
    """Every static metric of every token; `before` and `after` are (tokens, hidden)."""
    h, g = before.astype(np.float64), after.astype(np.float64)
    update = g - h
    base = h if relative_to == "input" else g
    cosine = (h * g).sum(1) / np.sqrt((h * h).sum(1) * (g * g).sum(1))
    l1, l2 = np.abs(update).sum(1), np.sqrt((update * update).sum(1))
    return {
        "cosine": 1 - cosine,
        "angular": np.arccos(np.clip(cosine, -1, 1)) / np.pi,
        "l1": l1,
        "l2": l2,
        "relative_l1": l1 / np.abs(base).sum(1),
        "relative_l2": l2 / np.sqrt((base * base).sum(1)),
    }


def windows(states: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean angular distance of n blocks from block i at [n - 1, i]; NaN beyond the last block."""
    n_blocks = len(states) // 2
    found = np.full((n_blocks, n_blocks), np.nan)
    for n in range(1, n_blocks + 1):
        for i in range(n_blocks - n + 1):
            values = per_token(states[2 * i][rows], states[2 * (i + n)][rows])
            found[n - 1, i] = values["angular"].mean()
    return found


def token_rows(lengths: Sequence[int], tokens: str) -> np.ndarray:
    """Rows that a metric looks at: of all tokens, or of the last one of each sequence."""
    return np.arange(sum(lengths)) if tokens == "all" else np.cumsum(lengths) - 1
