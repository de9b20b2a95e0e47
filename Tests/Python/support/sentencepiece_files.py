# SPDX-License-Identifier: Apache-2.0
"""Models of SentencePiece from tokens, types and scores, for the package sentencepiece to run.

The file is one message of protocol buffers, whose fields are few enough to be written here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

UNIGRAM, BPE = 1, 2
_TEXT, _NUMBER, _FLOAT = 2, 0, 5


def model_file(
    kind: int,
    pieces: Iterable[tuple[str, float, int]],
    *,
    adds_space: bool,
    merges_spaces: bool = False,
    charsmap: bytes = b"",
    ids: tuple[int, int, int] = (0, 1, 2),
) -> bytes:
    """The bytes of a model file.

    Parameters
    ----------
    kind : int
        `UNIGRAM` or `BPE`.
    pieces : iterable of (text, score, type)
        By id; the types are those of GGUF, too.
    adds_space, merges_spaces, charsmap
        What is done to text first.
    ids : tuple of int
        Of the unknown token, and of those that begin and end a text.
    """
    rows = list(pieces)
    has_bytes = any(kind_of == 6 for _, _, kind_of in rows)
    written = b"".join(
        _text(1, _text(1, piece.encode()) + _float(2, score) + _number(3, kind_of))
        for piece, score, kind_of in rows
    )
    trainer = _number(3, kind) + _number(35, has_bytes)
    for field, number in zip((40, 41, 42, 43), (*ids, -1), strict=True):
        trainer += _number(field, number)
    normalizer = _text(2, charsmap) + _number(3, adds_space) + _number(4, merges_spaces)
    return written + _text(2, trainer) + _text(3, normalizer + _number(5, True))


def _varint(number: int) -> bytes:
    number &= 2**64 - 1
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _NUMBER) + _varint(int(value))


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | _FLOAT) + struct.pack("<f", value)


def _text(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _TEXT) + _varint(len(content)) + content


def charsmap_of(content: bytes) -> bytes:
    """The map of characters in a model file: field 2 of its field 3."""
    return dict(_fields(dict(_fields(content))[3])).get(2, b"")


def _fields(content: bytes) -> Iterable[tuple[int, bytes]]:
    """Numbers of fields, and the content of those that are texts or messages."""
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        kind = key & 7
        if kind == _TEXT:
            length, at = _read_varint(content, at)
            yield key >> 3, content[at : at + length]
            at += length
        elif kind == _FLOAT:
            at += 4
        else:
            _, at = _read_varint(content, at)


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        at, number, shift = at + 1, number | (byte & 127) << shift, shift + 7
        if byte < 128:
            return number, at
