# SPDX-License-Identifier: Apache-2.0
"""The tables of a study, for people and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType

from prunecore.cli.output import table, titled

Rows = list[list[str]]


class StudyTable(NamedTuple):
    """One table of a study. Names of columns may be broken into lines."""

    title: str
    columns: list[str]
    rows: Rows


def shown(tables: Sequence[StudyTable]) -> Group:
    """The tables one below the other, for people."""
    parts: list[RenderableType] = []
    for title, columns, rows in tables:
        made = table(*columns)
        made.pad_edge = False
        for row in rows:
            made.add_row(*row)
        parts += [titled(title, made), ""]
    return Group(*parts[:-1])


def markdown(tables: Sequence[StudyTable]) -> str:
    """The tables as Markdown."""
    lines: list[str] = []
    for title, columns, rows in tables:
        heads = [column.replace("\n", " ") or " " for column in columns]
        lines += [f"{title}:", ""]
        for row in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows):
            lines.append(f"| {' | '.join(row)} |")
        lines.append("")
    return "\n".join(lines)
