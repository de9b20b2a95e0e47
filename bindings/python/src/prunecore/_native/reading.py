# SPDX-License-Identifier: Apache-2.0
"""Text files and JSON, as people and tools really write them, with errors that name file and line.

A byte-order mark says the encoding, and is no text; without one a file is UTF-8. What gzip, bzip2
and xz have compressed is unpacked. What stands in a file's place but is none (a Git LFS pointer, a
table, an archive, binary data) is named as what it is.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prunecore._native.paths import unreadable
from prunecore.errors import ArgumentError, FileError, FormatError, OutOfMemoryError

LFS_POINTER = b"version https://git-lfs.github.com/spec/"

# UTF-32's mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UNPACKERS: tuple[tuple[bytes, str, Callable[..., Any]], ...] = (
    (b"\x1f\x8b", "gzip", lambda content: gzip.GzipFile(fileobj=content)),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\xfd7zXZ\0", "xz", lzma.LZMAFile),
)
# Text becomes some ten times smaller. What grows far more was made to fill memory.
_MOST_GROWTH, _FREE_GROWTH = 200, 1 << 26
_OTHERS = (
    (b"\x28\xb5\x2f\xfd", "is compressed with Zstandard: unpack it first (unzstd)"),
    (b"\x04\x22\x4d\x18", "is compressed with LZ4: unpack it first (unlz4)"),
    (b"PK\x03\x04", "is a zip archive: unpack it first (unzip)"),
    (b"PAR1", "is a Parquet table: write its texts as .jsonl first"),
    (b"ARROW1", "is an Arrow table: write its texts as .jsonl first"),
    (b"GGUF", "is a GGUF file, which is binary"),
    (b"%PDF", "is a PDF document: take its text out first (pdftotext)"),
    (b"\x93NUMPY", "is a NumPy array: token ids are read from files called .npy"),
)
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_text(path: Path) -> str:
    """The text of a file; lines end as in Unix, however they end there.

    Raises
    ------
    FileError
        It is missing or unreadable, or a folder.
    FormatError
        It is not text.
    OutOfMemoryError
        It does not fit into memory.
    """
    return decode(read_bytes(path), str(path)).replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: Path) -> bytes:
    """The bytes of a file or pipe; a device may never end. Raises `FileError`."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise FileError(f"{path} is a folder, but a file is needed: name the file in it")
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise FileError(f"{path} is neither a file nor a pipe")
        return path.read_bytes()
    except FileError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except MemoryError as error:
        raise OutOfMemoryError(f"{path} does not fit into memory") from error


def decode(content: bytes, name: str) -> str:
    """The text that bytes hold; errors call the file by `name`."""
    check_no_pointer(content, name)
    for magic, method, unpack in _UNPACKERS:
        if content.startswith(magic):
            try:
                content = _unpacked(unpack(io.BytesIO(content)), len(content), name)
            except FormatError:
                raise
            except MemoryError as error:
                raise OutOfMemoryError(f"{name} does not fit into memory, unpacked") from error
            except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
                raise FormatError(f"{name} looks compressed with {method}: {error}") from error
            break
    for magic, sentence in _OTHERS:
        if content.startswith(magic):
            raise FormatError(f"{name} {sentence}")
    mark, encoding = next(
        ((mark, encoding) for mark, encoding in _MARKS if content.startswith(mark)), (b"", "utf-8")
    )
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise FormatError(_not_text(content, len(mark), name, encoding, error)) from error
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        if encoding == "utf-8" and _is_utf16(content):
            raise FormatError(
                f"{name} looks like UTF-16 without a byte-order mark: save it as UTF-8"
            )
        raise FormatError(f"{name}, line {line}: a NUL character, so that it is no text")
    # Some tools join files that each begin with a mark.
    return text.replace("\n\ufeff", "\n")


def _unpacked(file: Any, packed: int, name: str) -> bytes:
    most = _MOST_GROWTH * packed + _FREE_GROWTH
    content: bytes = file.read(most + 1)
    if len(content) > most:
        raise FormatError(f"{name} unpacks to over {_MOST_GROWTH} times its size: it is no text")
    return content


def check_no_pointer(content: bytes, name: str) -> None:
    """Raises `FormatError` if a file is what Git LFS left in the place of the real one."""
    if content.startswith(LFS_POINTER):
        raise FormatError(
            f"{name} is a Git LFS pointer, not the file itself: run `git lfs pull` in its clone"
        )


def _is_utf16(content: bytes) -> bool:
    half = len(content) // 2
    return max(content[::2].count(0), content[1::2].count(0)) > 0.4 * half


def _not_text(content: bytes, start: int, name: str, encoding: str, error: Any) -> str:
    if encoding != "utf-8":
        return f"{name} begins as {encoding.upper()}, but is not: {error.reason}"
    at = start + error.start
    line = content.count(b"\n", 0, at) + 1
    return (
        f"{name}, line {line}: byte {at} is 0x{content[at]:02x}, which is not UTF-8 text "
        f"({error.reason}): save it as UTF-8, such as by `iconv -f LATIN1 -t UTF-8`"
    )


def parse_json(text: str, *, unique: bool = False) -> Any:
    """The JSON value that a text is.

    Parameters
    ----------
    text : str
        The text. A byte-order mark in front is allowed.
    unique : bool
        Whether a key that stands twice in an object is refused. Else the last one counts.

    Raises
    ------
    FormatError
        It is no JSON, nested too deep, holds a number that is too long, or half a surrogate pair.
    """
    pairs = _unique if unique else None
    try:
        found = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=pairs)
        if _HALF_PAIR.search(text) or _SURROGATE.search(text):
            check_text("its JSON", json.dumps(found, ensure_ascii=False))
    except RecursionError as error:
        raise FormatError("its JSON is nested too deep") from error
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"it is no JSON: {error}") from error
    return found


def check_text(name: str, text: str) -> None:
    """Raises `FormatError` if a text holds half a surrogate pair, which no encoding can write."""
    found = _SURROGATE.search(text)
    if found:
        raise FormatError(
            f"{name} holds half a surrogate pair, U+{ord(found[0]):04X}, which is no character"
        )


def given_text(name: str, text: Any) -> str:
    """A text that a caller gave. Raises `ArgumentError` if it is none."""
    if not isinstance(text, str):
        raise ArgumentError(f"{name} is a {type(text).__name__}, but must be a text")
    found = _SURROGATE.search(text)
    if found:
        raise ArgumentError(
            f"{name} holds half a surrogate pair, U+{ord(found[0]):04X}, which is no character"
        )
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f'"{twice[:60]}" is said twice')
    return made
