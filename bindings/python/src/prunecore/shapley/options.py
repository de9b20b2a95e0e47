# SPDX-License-Identifier: Apache-2.0
"""How a game is estimated, and when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prunecore._native import options_generated
from prunecore._native.names.tables import Estimator
from prunecore._native.options_generated import GameRunOptions

__all__ = ["GameOptions", "GameRunOptions"]


@dataclass(frozen=True, kw_only=True)
class GameOptions(options_generated.GameOptions):
    """The options of a game: see `Game`. Its record holds these defaults as numbers."""

    estimator: Estimator | Literal["default"] = "surrogate"
    certainty: float | None = 0.95
    keep_probability: float | None = 0.5
    subnetworks_per_round: int | None = 10
    truncation: float | None = 0.01
