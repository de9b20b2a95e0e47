# SPDX-License-Identifier: Apache-2.0
"""How a game is estimated, and when it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prunecore._native.library import new_struct
from prunecore._native.names.tables import ESTIMATOR
from prunecore._native.numbers import checked_count, checked_positive, optional_count


@dataclass(frozen=True, kw_only=True)
class GameOptions:
    """The options of a game: see `Game`."""

    estimator: str = "surrogate"
    seed: int = 0
    budget: int | None = None
    target_error: float | None = None
    least: int | None = None
    certainty: float = 0.95
    keep_probability: float = 0.5
    subnetwork_size: int | None = None
    subnetworks_per_round: int = 10
    truncation: float = 0.01

    def struct(self) -> Any:
        """The options for C, checked where C would take a 0 for the default."""
        options = new_struct("prune_game_options")
        options.estimator = ESTIMATOR.value(self.estimator)
        options.seed = checked_count("seed", self.seed, 0, 2**64 - 1)
        options.budget = optional_count("budget", self.budget)
        if self.target_error is not None:
            options.target_error = checked_positive("target_error", self.target_error)
        options.least = optional_count("least", self.least)
        options.certainty = checked_positive("certainty", self.certainty, below=1)
        options.keep_probability = checked_positive(
            "keep_probability", self.keep_probability, below=1
        )
        options.subnetwork_size = optional_count("subnetwork_size", self.subnetwork_size)
        options.subnetworks_per_round = checked_count(
            "subnetworks_per_round", self.subnetworks_per_round
        )
        options.truncation = checked_positive("truncation", self.truncation)
        return options

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)
