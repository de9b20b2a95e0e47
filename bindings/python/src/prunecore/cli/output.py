# SPDX-License-Identifier: Apache-2.0
"""Where results go: tables for people, or one JSON object for programs.

Progress goes to standard error.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from typing_extensions import Self


class Output:
    """Standard output of a command.

    Parameters
    ----------
    as_json : bool
        One JSON object and nothing else.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False)

    def result(self, record: dict[str, Any], *parts: RenderableType) -> None:
        """Prints the result: `record` as JSON, or else `parts`."""
        if self._as_json:
            sys.stdout.write(json.dumps(record, indent=2, allow_nan=False) + "\n")
            return
        for part in parts:
            self._console.print(part)


class Bar:
    """A progress bar on standard error: shown after a second, and only on a terminal.

    Use it in a `with` block and give it to a long call as `progress`.

    Parameters
    ----------
    label : str, optional
        What is being done. Default: what the library says.
    """

    def __init__(self, label: str = "") -> None:
        self.label = label
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
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, stage: str, done: int, total: int, _seconds: float) -> bool:
        if not self._wanted:
            return False
        if self._progress is None:
            if time.monotonic() - self._began < 1:
                return False
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.add_task(stage, total=total)
            self._progress.start()
        task = self._progress.task_ids[0]
        self._progress.update(
            task, description=self.label or stage, completed=done, total=max(total, 1)
        )
        return False


def table(*columns: str) -> Table:
    """An empty table; all columns but the first one hold numbers. Empty names: no heading."""
    made = Table(show_edge=False, show_header=any(columns))
    for position, column in enumerate(columns):
        made.add_column(column, justify="left" if position == 0 else "right")
    return made


def titled(title: str, *parts: RenderableType) -> Group:
    """Parts under a title."""
    return Group(Text(title, style="bold"), *parts)


def count(number: float) -> str:
    """A number with thousands apart: 2,473,600."""
    return f"{number:,.0f}"


def wrote(path: Path) -> str:
    """The line that says where a result lies."""
    return f"Wrote {path}"


def make_folder(path: Path) -> Path:
    """Makes a folder, and those around it."""
    path.mkdir(parents=True, exist_ok=True)
    return path
