# SPDX-License-Identifier: Apache-2.0
"""Names of the strategies of searches, and the header's numbers for them."""

from __future__ import annotations

from prunecore._raw_generated import ffi
from prunecore.errors import ArgumentError

STRATEGIES: tuple[str, ...] = (
    "one_shot",
    "greedy",
    "window",
    "tail",
    "evolutionary",
    "random",
)
"""All strategies of searches; "default" stands for one of them."""


def parse_strategy(name: str) -> str:
    """Reads the name of a strategy; "one-shot" counts as "one_shot"."""
    wanted = str(name).strip().replace("-", "_")
    if wanted in STRATEGIES or wanted == "default":
        return wanted
    known = ", ".join(STRATEGIES)
    raise ArgumentError(f"unknown strategy '{name}': the strategies are {known} and default")


def strategy_value(name: str) -> int:
    """The header's value for a strategy."""
    return int(ffi.integer_const(f"PRUNE_STRATEGY_{name.upper()}"))


def strategy_name(value: int) -> str:
    """The strategy that the header's value stands for."""
    return next(name for name in STRATEGIES if strategy_value(name) == value)
