# SPDX-License-Identifier: Apache-2.0
"""Names of files that a file gives: they never lead out of its directory."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from prunecore.errors import FormatError


def inner_path(directory: Path, name: Any, source: Path) -> Path:
    """The path of a file in a directory, by a name that another file gives.

    Links in the directory are followed, as caches of models need: it is the name that stays inside.

    Parameters
    ----------
    directory : Path
        Where the file is.
    name : JSON value
        The name, or a path in the directory.
    source : Path
        The file that gives the name, for the error.

    Raises
    ------
    FormatError
        The name is not one, or it leads out of the directory.
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or "\0" in name or "\\" in name or name.startswith("/") or ".." in parts:
        raise FormatError(f"{source} names the file {name!r}, which is not inside {directory}")
    return directory / str(name)
