# SPDX-License-Identifier: Apache-2.0
"""Results as JSON files: written, and read with errors that name the file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from prunecore._native.paths import PathLike, as_path, shown
from prunecore._native.reading import parse_json, read_text
from prunecore._native.whole_file import write_whole
from prunecore.errors import Error, FileError, FormatError, OutOfMemoryError, UnsupportedError

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
    def load(cls, path: PathLike) -> Self:
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
            f"{saved} of version {shown(record.get('version'))}, but this version reads only 1"
        )


def read_json_file(path: PathLike, parse: Callable[[Any], Result]) -> Result:
    """What `parse` makes of the JSON in a file.

    Raises
    ------
    ArgumentError
        The path is none.
    FileError
        The file is missing or unreadable.
    FormatError, UnsupportedError
        It is not JSON; or what `parse` says, with the file's name before it.
    OutOfMemoryError
        It does not fit into memory.
    """
    file = as_path(path)
    text = read_text(file)
    try:
        found = parse_json(text)
    except FormatError as error:
        told = str(error).removeprefix("it is no JSON: ")
        raise FormatError(f"{file} is not JSON: {told}") from error
    with damage_named(file):
        try:
            return parse(found)
        except (FormatError, UnsupportedError) as error:
            raise type(error)(f"{file} holds {error}") from error


def read_json_object(path: PathLike) -> dict[str, Any]:
    """The JSON object in a file.

    Raises
    ------
    ArgumentError, FileError, OutOfMemoryError
        As `read_json_file`.
    FormatError
        It holds no JSON, or something else.
    """
    found = read_json_file(path, lambda value: value)
    if not isinstance(found, dict):
        raise FormatError(f"{path} is not a JSON object: it holds {shown(found)}")
    return found


@contextmanager
def damage_named(file: PathLike) -> Iterator[None]:
    """Names the file whose values are not what was written, when using them fails.

    Raises
    ------
    FormatError
        It is damaged.
    FileError
        What it names cannot be read.
    OutOfMemoryError
        It holds more than fits into memory.
    """
    try:
        yield
    except Error:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{file} holds more than fits into memory") from error
    except OSError as error:
        raise FileError(f"what {file} names cannot be read: {error.strerror or error}") from error
    except DAMAGE as error:
        raise FormatError(f"{file} is damaged: {reason(error)}") from error


DAMAGE = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    IndexError,
    RecursionError,
)
"""What reading a JSON value fails with where it is not what was written."""


def reason(error: BaseException) -> str:
    """What is wrong with a record, from one of `DAMAGE`."""
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    return str(error) or type(error).__name__


def whole_number(record: Any, name: str, least: int = 0, most: int = 2**63 - 1) -> int:
    """A whole number of a record. Raises `FormatError` if it is none, or out of its range."""
    found = record[name]
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        bound = f"of at least {least}" if most == 2**63 - 1 else f"from {least} to {most}"
        raise FormatError(f'"{name}" is {shown(found)}, but must be a whole number {bound}')
    return found
