# SPDX-License-Identifier: Apache-2.0
"""Paths of files of data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunecore._native.given import listed
from prunecore._native.paths import PathLike, as_path
from prunecore.errors import ArgumentError, FileError

_LONGEST_PATH = 255  # characters: a longer name, or one of several lines, is a text itself


def as_paths(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """One path or several, as a list.

    Raises
    ------
    ArgumentError
        There is none, or one is no path.
    FileError
        What should be a path is a text itself.
    """
    is_one = isinstance(paths, (str, bytes, os.PathLike))
    given: list[Any] = [paths] if is_one else listed("data files", paths)
    if not given:
        raise ArgumentError("no data file is given")
    return [_file(path) for path in given]


def _file(given: PathLike) -> Path:
    if isinstance(given, str) and _is_prose(given):
        start = given[:40].replace("\n", " ")
        raise FileError(
            f"there is no file {start!a}..: it looks like a text itself: use Data.from_texts"
        )
    return as_path(given, "a data file")


def _is_prose(text: str) -> bool:
    """Whether a string that names no file is a text."""
    if "\0" in text or "\n" in text or len(text) > _LONGEST_PATH:
        is_long = True
    else:
        is_long = text.count(" ") >= 3 and "/" not in text
    try:
        return is_long and not os.path.exists(os.path.expanduser(text))
    except (OSError, ValueError):  # too long, or with characters that no name has
        return is_long
