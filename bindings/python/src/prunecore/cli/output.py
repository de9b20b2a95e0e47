# SPDX-License-Identifier: Apache-2.0
"""Where results go: tables for people, or one JSON object for programs.

Progress goes to standard error: see `prunecore.cli.line`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text


class Output:
    """Standard output of a command.

    Parameters
    ----------
    as_json : bool
        One JSON object and nothing else.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        # Names of files and generated text are no markup.
        self._console = Console(highlight=False, markup=False, emoji=False)

    def result(self, record: dict[str, Any], *parts: RenderableType) -> None:
        """Prints the result: `record` as JSON, or else `parts`."""
        if self._as_json:
            sys.stdout.write(json.dumps(record, indent=2, allow_nan=False) + "\n")
            return
        for part in parts:
            self._console.print(part)


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
