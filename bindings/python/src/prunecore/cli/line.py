# SPDX-License-Identifier: Apache-2.0
"""A line on a terminal that says how a long run stands."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from typing_extensions import Self


class Line:
    """A line on standard error, shown after a second, and only on a terminal.

    Use it in a `with` block. A subclass says what the line tells, through `_show`, and what follows
    that in it.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()  # of the whole command, which may make many short calls
        self._progress: Progress | None = None
        self._wanted = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _columns(self) -> list[ProgressColumn]:
        """What follows the description."""
        return [BarColumn(bar_width=16), TimeElapsedColumn()]

    def _show(self, description: str, completed: int, total: int | None) -> None:
        """Shows how far the run has come; `total` is None where that is not known."""
        if self._progress is None and time.monotonic() - self._began < 1:
            return
        self._show_now(description, completed, total)

    def _show_now(self, description: str, completed: int, total: int | None) -> None:
        """Does so within the first second, too."""
        if not self._wanted:
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                *self._columns(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.add_task(description, total=total)
            self._progress.start()
        self._progress.update(
            self._progress.task_ids[0], description=description, completed=completed, total=total
        )

    def _stop(self) -> None:
        """Takes the line away; what is shown next makes another."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Bar(Line):
    """A bar with the share that is done and the time that is left.

    Give it to a long call as `progress`, and `stage` to a study as `step`.

    Parameters
    ----------
    label : str, optional
        What is being done. Default: what the library says.
    """

    def __init__(self, label: str = "") -> None:
        super().__init__()
        self.label = label

    def stage(self, label: str) -> Self:
        """Says what is done from now on, and gives the bar."""
        self.label = label
        return self

    def __call__(self, stage: str, done: int, total: int, _seconds: float) -> bool:
        self._show(self.label or stage, done, max(total, 1))
        return False

    def _columns(self) -> list[ProgressColumn]:
        return [BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn()]
