# SPDX-License-Identifier: Apache-2.0
"""What the writers of modules have in common: Python source as a formatter would leave it."""

from __future__ import annotations

from pathlib import Path

WIDTH = 100


def heading(what: str) -> str:
    """The first lines of a generated module."""
    return (
        "# SPDX-License-Identifier: Apache-2.0\n"
        "# Generated from prunecore.h by generate_raw.py. Do not edit.\n"
        f'"""{what}"""\n\n'
        "from __future__ import annotations\n\n"
    )


def quoted(text: str) -> str:
    """A text as a string literal, in double quotes where it holds none."""
    escaped = text.replace("\\", "\\\\")
    if '"' in text and "'" not in text:
        return f"'{escaped}'"
    return '"' + escaped.replace('"', '\\"') + '"'


def assigned(indent: int, name: str, text: str, sign: str = "=", end: str = ",") -> str:
    """`name=text,` on as many lines as it takes."""
    space = " " * indent
    line = f"{space}{name}{sign}{quoted(text)}{end}"
    if len(line) <= WIDTH:
        return line + "\n"
    room = WIDTH - indent - 4
    if len(quoted(text)) <= room:
        return f"{space}{name}{sign}(\n{space}    {quoted(text)}\n{space}){end}\n"
    pieces, piece = [], ""
    for word in text.split(" "):
        longer = f"{piece} {word}" if piece else word
        if piece and len(quoted(longer + " ")) > room:
            pieces.append(piece + " ")
            piece = word
        else:
            piece = longer
    lines = "".join(f"{space}    {quoted(each)}\n" for each in [*pieces, piece])
    return f"{space}{name}{sign}(\n{lines}{space}){end}\n"


def bracketed(start: str, parts: list[str], end: str, indent: int = 0) -> str:
    """`start` + parts with commas between + `end`, on one line if that is short enough."""
    line = " " * indent + start + ", ".join(parts) + end
    if len(line) <= WIDTH:
        return line + "\n"
    inner = "".join(f"{' ' * (indent + 4)}{part},\n" for part in parts)
    return f"{' ' * indent}{start}\n{inner}{' ' * indent}{end}\n"


def camel(name: str) -> str:
    """prune_search_options as SearchOptions."""
    return "".join(part.capitalize() for part in name.removeprefix("prune_").split("_"))


def write_if_changed(path: Path, content: str) -> None:
    """Writes a file unless it holds that already, so that its time says when it changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        path.write_text(content, encoding="utf-8")
