# SPDX-License-Identifier: Apache-2.0
"""Paths of files of data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from prunecore.errors import ArgumentError

PathLike: TypeAlias = str | os.PathLike[str]


def as_paths(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """One path or several, as a list. Raises `ArgumentError` if there is none."""
    found = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(p) for p in paths]
    if not found:
        raise ArgumentError("no data file is given")
    return found
