# SPDX-License-Identifier: Apache-2.0
"""Results as JSON files: written, and read with errors that name the file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from prunecore._native.whole_file import write_whole
from prunecore.errors import FileError, FormatError, UnsupportedError

if TYPE_CHECKING:
    from typing_extensions import Self

Result = TypeVar("Result")


class SavedResult:
    """A result that is written to a file as the JSON values that `to_dict` gives."""

    _may_hold_nan: ClassVar[bool] = True
    """Whether `to_dict` may give NaN and infinity, which JSON lacks."""

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the result as JSON to a file."""
        text = json.dumps(self.to_dict(), indent=2, allow_nan=self._may_hold_nan)
        write_whole(path, text + "\n")


class LoadedResult(SavedResult):
    """A result that is also read from such a file."""

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Reads a result from what `to_dict` gives."""
        raise NotImplementedError

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a result from a file that `save` wrote."""
        return read_json_file(path, cls.from_dict)


def check_format(record: Any, name: str, noun: str, saved: str) -> None:
    """Checks that a record is of a format, and of a version that this package reads.

    Parameters
    ----------
    record : JSON value
        What was read.
    name : str
        The format: "prunecore.search".
    noun, saved : str
        What errors call it: "result of a search", after "no"; "a search", before "of version 2".

    Raises
    ------
    FormatError
        It is something else.
    UnsupportedError
        It is of another version.
    """
    if not isinstance(record, dict) or record.get("format") != name:
        raise FormatError(f'no {noun}: "format" is not "{name}"')
    if record.get("version") != 1:
        raise UnsupportedError(
            f"{saved} of version {record.get('version')}, but this version reads only 1"
        )


def read_json_file(path: str | os.PathLike[str], parse: Callable[[Any], Result]) -> Result:
    """What `parse` makes of the JSON in a file.

    Raises
    ------
    FileError
        The file is missing or unreadable.
    FormatError, UnsupportedError
        It is not JSON; or what `parse` says, with the file's name before it.
    """
    try:
        return parse(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (FormatError, UnsupportedError) as error:
        raise type(error)(f"{path} holds {error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: {error}") from error
