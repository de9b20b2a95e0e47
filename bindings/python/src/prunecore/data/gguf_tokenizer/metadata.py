# SPDX-License-Identifier: Apache-2.0
"""What a GGUF file says before its tensors, read without trusting any count in it."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from prunecore._native.paths import unreadable
from prunecore._native.reading import LFS_POINTER, check_no_pointer
from prunecore.errors import FormatError, UnsupportedError

Metadata: TypeAlias = dict[str, Any]

MAGIC = b"GGUF"
_STRING, _ARRAY, _BOOL = 8, 9, 7
_NUMBERS = {
    **{0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "u1"},
    **{10: "<u8", 11: "<i8", 12: "<f8"},
}
_LEAST_ENTRY = 8 + 1 + 4 + 1  # the length of a key, a letter, a type, and the smallest value
_LEAST_TENSOR = 8 + 4 + 4 + 8
_FIRST_READ = 1 << 20
_LENGTH = struct.Struct("<Q").unpack_from


def read_metadata(path: Path, prefixes: tuple[str, ...]) -> Metadata:
    """The values of a GGUF file whose keys begin with one of `prefixes`.

    Strings become `str`, arrays of strings lists of them, other arrays NumPy arrays, and the rest
    Python's numbers. Other keys are passed over.

    Raises
    ------
    FileError
        It is missing or unreadable.
    FormatError
        It is no GGUF file, ends too early, or contradicts itself.
    UnsupportedError
        It is of another version than 2 and 3, or of a big-endian machine.
    """
    try:
        with path.open("rb") as file:
            check_no_pointer(file.read(len(LFS_POINTER)), str(path))
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            return _Reader(file, size).metadata(prefixes)
    except (FormatError, UnsupportedError) as error:
        raise named(path, error) from error
    except OSError as error:
        raise unreadable(path, error) from error


def named(path: Path, error: FormatError | UnsupportedError) -> FormatError | UnsupportedError:
    """The error with the file in front of its text, where that is not there yet."""
    return error if str(error).startswith(str(path)) else type(error)(f"{path} {error}")


class _Reader:
    """A place in a file, which is read as far as it is needed and never beyond its end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._read = b""
        self._at = 0

    def metadata(self, prefixes: tuple[str, ...]) -> Metadata:
        if self._size < len(MAGIC) or self._bytes(len(MAGIC)) != MAGIC:
            raise FormatError("is not a GGUF file: it does not begin with GGUF")
        version = self._number("<u4")
        if version not in (2, 3):
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            raise UnsupportedError(
                "is a GGUF file of a big-endian machine"
                if swapped in (2, 3)
                else f"is a GGUF file of version {version}; versions 2 and 3 are read"
            )
        tensors, entries = self._number("<u8"), self._number("<u8")
        if tensors * _LEAST_TENSOR + entries * _LEAST_ENTRY > self._size:
            raise FormatError(
                f"says that it holds {entries} values and {tensors} tensors, which do not fit "
                f"into its {self._size} bytes"
            )
        found: Metadata = {}
        seen: set[str] = set()
        for _ in range(entries):
            key = self._text("a key")
            if key in seen:
                raise FormatError(f"says {key[:60]} twice")
            seen.add(key)
            value = self._value(key, key.startswith(prefixes))
            if value is not None:
                found[key] = value
        return found

    def _value(self, key: str, wanted: bool) -> Any:
        """The value at this place; None if it is not wanted."""
        kind = self._number("<u4")
        if kind == _ARRAY:
            return self._array(key, wanted)
        if kind == _STRING:
            return self._text(key) if wanted else self._skip(self._number("<u8"))
        number = self._number(self._type(key, kind))
        if kind == _BOOL:
            return bool(number) if wanted else None
        return number if wanted else None

    def _array(self, key: str, wanted: bool) -> Any:
        kind, count = self._number("<u4"), self._number("<u8")
        if kind == _ARRAY:
            raise UnsupportedError(f"holds an array of arrays, {key[:60]}, which is not read")
        if kind == _STRING:
            return self._texts(key, count, wanted)
        dtype = np.dtype(self._type(key, kind))
        if not wanted:
            return self._skip(count * dtype.itemsize)
        numbers = np.frombuffer(self._bytes(count * dtype.itemsize), dtype=dtype)
        return numbers.astype(bool) if kind == _BOOL else numbers

    def _texts(self, key: str, count: int, wanted: bool) -> list[str] | None:
        if count * 8 > self._size - self._at:
            raise FormatError(f"ends in the middle of {key[:60]}")
        made: list[str] = []
        # Half a million of them in a large vocabulary: what one takes is written out here.
        data, at = self._read, self._at
        for _ in range(count):
            if at + 8 > len(data):
                data = self._upto(at + 8)
            end = at + 8 + _LENGTH(data, at)[0]
            if end > len(data):
                data = self._upto(end)
            if wanted:
                try:
                    made.append(data[at + 8 : end].decode())
                except UnicodeDecodeError as error:
                    raise FormatError(f"holds text that is not UTF-8, in {key[:60]}") from error
            at = end
        self._at = at
        return made if wanted else None

    def _type(self, key: str, kind: int) -> str:
        found = _NUMBERS.get(kind)
        if found is None:
            raise FormatError(f"holds a value of the unknown type {kind}, {key[:60]}")
        return found

    def _number(self, dtype: str) -> Any:
        kind = np.dtype(dtype)
        return np.frombuffer(self._bytes(kind.itemsize), dtype=kind)[0].item()

    def _text(self, name: str) -> str:
        try:
            return self._bytes(self._number("<u8")).decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"holds text that is not UTF-8, in {name[:60]}") from error

    def _bytes(self, count: int) -> bytes:
        start, end = self._at, self._at + count
        data = self._upto(end)
        self._at = end
        return data[start:end]

    def _skip(self, count: int) -> None:
        if count > self._size - self._at:
            raise FormatError("ends in the middle of a value")
        self._at += count

    def _upto(self, end: int) -> bytes:
        """What was read of the file: at least its first `end` bytes."""
        if end > self._size:
            raise FormatError("ends in the middle of a value")
        if end > len(self._read):
            goal = min(self._size, max(end, 2 * len(self._read), _FIRST_READ))
            self._read += self._file.read(goal - len(self._read))
            if end > len(self._read):  # it was cut short meanwhile
                raise FormatError("ends in the middle of a value")
        return self._read
