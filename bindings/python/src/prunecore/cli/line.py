# SPDX-License-Identifier: Apache-2.0
"""A line on a terminal that says how a long run stands."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from typing_extensions import Self


class Line:
    """A line on standard error, shown after a second, and only on a terminal.

    Use it in a `with` block.

    Parameters
    ----------
    total : int or None
        What `show` counts up to; None if that is not known.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._began = time.monotonic()
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
        if self._progress is not None:
            self._progress.stop()

    def show(self, description: str, completed: int) -> None:
        """Shows how far the run has come."""
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
            self._progress.add_task("", total=self._total)
            self._progress.start()
        self._progress.update(
            self._progress.task_ids[0], description=description, completed=completed
        )
