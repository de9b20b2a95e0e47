# SPDX-License-Identifier: Apache-2.0
"""Paths as callers give them: checked, and with "~" replaced by the home folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeAlias

from prunecore.errors import ArgumentError, FileError

PathLike: TypeAlias = str | os.PathLike[str]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_LONGEST_SHOWN = 60


def as_path(given: Any, name: str = "path") -> Path:
    """The path that a caller names. "~" and "~user" in front become home folders.

    Parameters
    ----------
    given : path
        What the caller gave.
    name : str
        What errors call the argument.

    Raises
    ------
    ArgumentError
        It is not a path, is empty, holds a NUL character, or half a surrogate pair.
    FileError
        It is longer than systems allow.
    """
    try:
        found = os.fspath(given)
    except TypeError as error:
        raise ArgumentError(f"{name} is {shown(given)}, but must be a path") from error
    text = os.fsdecode(found)
    if not text:
        raise ArgumentError(f"{name} is empty, but must be a path")
    if "\0" in text:
        raise ArgumentError(f"{name} holds a NUL character")
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ArgumentError(f"{name} is {text!a}, which no file can be called: {error}") from error
    if len(encoded) >= 4096 or any(len(part) > 255 for part in encoded.split(b"/")):
        raise FileError(f"{name} is longer than systems allow: {text[:40]}..")
    return Path(os.path.expanduser(text))


def shown(value: Any) -> str:
    """A value in an error text: its repr, or its type where that is long or fails."""
    try:
        text = ascii(value) if isinstance(value, str) else repr(value)
    except Exception:  # the caller's own __repr__, an integer too long to print
        text = ""
    if not text or len(text) > _LONGEST_SHOWN or "\n" in text:
        return f"a {type(value).__name__}"
    return text


def unreadable(path: Path, error: OSError, noun: str = "") -> FileError:
    """What is raised for a file that cannot be read; it says what to do where that is known.

    Parameters
    ----------
    path : Path
        The file.
    error : OSError
        What the system says.
    noun : str
        What the file is, such as "the checkpoint ", before its name.
    """
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        reason += missing_hint(str(path))
    return FileError(f"{noun}{path} cannot be read: {reason}")


def missing_hint(name: str) -> str:
    """What a name that no file has may be, with what to do: "; ..", or nothing."""
    # pathlib writes "https://x" as "https:/x".
    if re.match(r"[a-z][a-z0-9+.-]*:/", name):
        return "; it is an address: download the file, and name the place where it lies"
    if _HUB_ID.fullmatch(name) and not os.path.isdir(os.path.dirname(name)):
        return (
            "; if it is meant as a name on the Hugging Face hub: download it first "
            f"(hf download {name} --local-dir DIR), and name the folder"
        )
    return ""
