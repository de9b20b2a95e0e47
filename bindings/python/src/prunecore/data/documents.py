# SPDX-License-Identifier: Apache-2.0
"""The documents of a text file: plain text, JSON lines, or JSON.

What a file holds decides, not its suffix alone: C4's files are JSON lines and called .json, and
JSON that was measured as if it were prose would give figures of braces and field names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunecore._native.reading import check_text, parse_json, read_text
from prunecore.errors import FormatError

_LINES = (".jsonl", ".ndjson", ".jsonlines", ".jl")
_PACKED = (".gz", ".bz2", ".xz")
FIELD = "text"


def documents(path: Path) -> Iterator[str]:
    """The documents of a text file that are not empty: see `Data.from_text`.

    Raises
    ------
    FileError
        The file is missing or unreadable.
    FormatError
        It is not text, or is JSON without texts; the error names the line.
    """
    for text in _all(path, read_text(path)):
        if text.strip():
            yield text


def _all(path: Path, content: str) -> Iterator[str]:
    suffix, start = _suffix(path), content.lstrip()[:1]
    lines = (line for line in content.split("\n") if line.strip())
    first = list(itertools.islice(lines, 2))
    is_array = start == "[" and _is_json(content)
    if suffix in _LINES and not (is_array and len(first) == 2):
        return _of_lines(path, content)
    if start == "{" and len(first) == 2 and all(map(_is_json, first)):
        return _of_lines(path, content)
    if suffix == ".json" or is_array or (start == "{" and _is_json(content)):
        return _of_value(path, _value(path, content))
    return iter([content])


def _value(path: Path, content: str) -> Any:
    try:
        return parse_json(content)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _suffix(path: Path) -> str:
    """The suffix in lower case, of what is packed if it is packed."""
    if path.suffix.lower() in _PACKED:
        path = path.with_suffix("")
    return path.suffix.lower()


def _is_json(text: str) -> bool:
    """Whether a text is a JSON object or array."""
    try:
        return isinstance(parse_json(text), (dict, list))
    except FormatError:
        return False


def _of_lines(path: Path, content: str) -> Iterator[str]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = parse_json(line)
        except FormatError as error:
            raise FormatError(f"{where}: {error}") from error
        yield _text(where, record)


def _of_value(path: Path, value: Any) -> Iterator[str]:
    """The texts of a JSON value: a list of objects or of texts, one object, or a list as field."""
    if isinstance(value, list):
        for number, entry in enumerate(value):
            where = f"{path}, entry {number}"
            yield entry if isinstance(entry, str) else _text(where, entry)
        return
    if isinstance(value, dict) and isinstance(value.get(FIELD), list):
        for number, entry in enumerate(value[FIELD]):
            yield _text(f"{path}, text {number}", {FIELD: entry})
        return
    yield _text(str(path), value)


def _text(where: str, record: Any) -> str:
    text = record.get(FIELD) if isinstance(record, dict) else None
    if isinstance(text, str):
        check_text(where, text)
        return text
    there = ""
    if isinstance(record, dict) and FIELD not in record:
        names = ", ".join(ascii(name)[:40] for name in list(record)[:6])
        there = f"; it has {names}" if names else ""
    raise FormatError(
        f'{where}: no object with a text in the field "{FIELD}"{there}. '
        "Data.from_texts takes texts that a program has read itself"
    )
