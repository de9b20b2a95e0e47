# SPDX-License-Identifier: Apache-2.0
"""Shows on a terminal how the estimate of a game settles."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from prunecore.game_watch import GameProgress

if TYPE_CHECKING:
    from typing_extensions import Self


class GameBar:
    """A line on standard error: coalitions told, largest standard error, the batch under way.

    It is shown after a second, and only on a terminal. Use it in a `with` block; give `game` to
    `Model.shapley` as `progress`, and `batch` as `batch_progress`.

    Parameters
    ----------
    coalitions : int
        How many the game takes at most.
    """

    def __init__(self, coalitions: int) -> None:
        self._coalitions = coalitions
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._wanted = sys.stderr.isatty()
        self._told = 0
        self._error = math.nan

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def game(self, found: GameProgress) -> bool:
        """Told after every batch."""
        self._told = found.state.told
        self._error = found.state.largest_error
        self._show(0.0)
        return False

    def batch(self, _stage: str, done: int, total: int, _seconds: float) -> bool:
        """Told while a batch is evaluated."""
        self._show(done / max(total, 1))
        return False

    def _show(self, share: float) -> None:
        if not self._wanted:
            return
        if self._progress is None:
            if time.monotonic() - self._began < 1:
                return
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.add_task("", total=self._coalitions)
            self._progress.start()
        error = f"{self._error:.3g}" if math.isfinite(self._error) else "unknown"
        self._progress.update(
            self._progress.task_ids[0],
            description=f"{self._told} coalitions, largest error {error}, batch {share:.0%}",
            completed=self._told,
        )


def most_coalitions(estimator: str, players: int, budget: int | None) -> int:
    """Coalitions that a game asks for at most: the header's word on `budget`."""
    needed = {
        "exact": 2 ** min(players, 20),
        "leave_one_out": players + 1,
        "pair_differences": 1 + players + players * (players - 1) // 2,
    }.get(estimator, 32 * players)
    return needed if budget is None else budget
