# SPDX-License-Identifier: Apache-2.0
"""Shows on a terminal how the estimate of a game settles."""

from __future__ import annotations

import math

from prunecore.cli.line import Line
from prunecore.shapley.watch import GameProgress


class GameBar(Line):
    """A line on standard error: coalitions told, largest standard error, the batch under way.

    Give `game` to `Model.shapley` as `progress`, and `batch` as `batch_progress`.

    Parameters
    ----------
    coalitions : int
        How many the game takes at most.
    """

    def __init__(self, coalitions: int) -> None:
        super().__init__()
        self._coalitions = coalitions
        self._told = 0
        self._error = math.nan

    def game(self, found: GameProgress) -> bool:
        """Told after every batch."""
        self._told = found.state.told
        self._error = found.state.largest_error
        self._tell(0.0)
        return False

    def batch(self, _stage: str, done: int, total: int, _seconds: float) -> bool:
        """Told while a batch is evaluated."""
        self._tell(done / max(total, 1))
        return False

    def _tell(self, share: float) -> None:
        error = f"{self._error:.3g}" if math.isfinite(self._error) else "unknown"
        line = f"{self._told} coalitions, largest error {error}, batch {share:.0%}"
        self._show(line, self._told, self._coalitions)


def most_coalitions(estimator: str, players: int, budget: int | None) -> int:
    """Coalitions that a game asks for at most: the header's word on `budget`."""
    needed = {
        "exact": 2 ** min(players, 20),
        "leave_one_out": players + 1,
        "pair_differences": 1 + players + players * (players - 1) // 2,
    }.get(estimator, 32 * players)
    return needed if budget is None else budget
