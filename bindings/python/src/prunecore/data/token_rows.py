# SPDX-License-Identifier: Apache-2.0
"""Token ids as callers have them: lists, arrays, tensors, tokenizers' results, tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore._native.given import as_array, listed, plain
from prunecore._native.numbers import checked_count
from prunecore._native.paths import shown
from prunecore.errors import ArgumentError, DataError, OutOfMemoryError

Tokens = npt.NDArray[np.int32]

_IDS, _ATTENTION = "input_ids", "attention_mask"


def token_rows(given: Any) -> list[Any]:
    """The sequences of what a caller gave; `as_tokens` checks each of them.

    Raises
    ------
    ArgumentError
        It holds no token ids; the text says what it is, and what to do.
    """
    if isinstance(given, (str, bytes, bytearray)):
        raise ArgumentError(
            f"data are token ids, but a {type(given).__name__} is given: "
            "Data.from_text reads files, and Data.from_texts takes texts"
        )
    if given is None or isinstance(given, (set, frozenset)) or hasattr(given, "token_weights"):
        raise ArgumentError(f"data are sequences of token ids, but a {_kind(given)} is given")
    if _is_record(given):
        return _of_record(given)
    given = plain(given)
    if isinstance(given, np.ndarray):
        if given.ndim not in (1, 2):
            raise ArgumentError(f"token ids have {given.ndim} dimensions, but 1 or 2 are needed")
        if given.ndim == 2 or given.dtype.kind != "O":
            return list(given) if given.ndim == 2 else [given]
    if not isinstance(given, Iterable):
        raise ArgumentError(f"data are sequences of token ids, but {shown(given)} is given")
    rows: list[Any] = []
    for row in given:
        rows += _of_record(row) if _is_record(row) else [plain(row)]
    if rows and all(_is_number(row) for row in rows):
        return [rows]
    return rows


def as_tokens(name: str, row: Any) -> Tokens:
    """Checks the token ids of one sequence; errors call it by `name`.

    Numbers of a floating-point type are taken where they are whole.
    """
    if isinstance(row, str):
        raise ArgumentError(f"{name} is a text, not token ids: Data.from_texts takes texts")
    try:
        ids = np.asarray(plain(row))
        if isinstance(row, np.ma.MaskedArray) and np.ma.is_masked(row):
            raise ArgumentError(f"{name} is a masked array that hides some of its ids")
        if ids.dtype.kind == "O" and ids.ndim == 1:
            # Integers beyond 64 bits, or NumPy's and Python's own side by side.
            ids = np.array([_whole(number) for number in ids], dtype=object)
    except ArgumentError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{name} does not fit into memory") from error
    except Exception as error:  # what the caller's own class raises
        raise ArgumentError(f"{name} is not a list of token ids: {error}") from error
    if ids.size == 0 and ids.ndim == 1:
        ids = ids.astype(np.int64)
    if ids.ndim != 1 or (ids.dtype.kind not in "iuf" and ids.dtype != object):
        raise ArgumentError(
            f"{name} must be a 1-D list of integers, but is {ids.ndim}-D of {ids.dtype}"
        )
    if ids.dtype.kind == "f" and not (np.isfinite(ids).all() and (ids == np.trunc(ids)).all()):
        raise ArgumentError(f"{name} holds numbers that are not whole, which are no token ids")
    if ids.size and int(ids.max()) >= 2**31:
        raise DataError(f"{name} holds the token id {shown(int(ids.max()))}, beyond 32 bits")
    if ids.size and int(ids.min()) < 0:
        raise DataError(f"{name} holds the negative token id {shown(int(ids.min()))}")
    tokens: Tokens = np.array(ids, dtype=np.int32)
    tokens.setflags(write=False)
    return tokens


def as_weights(weights: Any, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
    """The weights of all tokens, given as one array, or one for each sequence."""
    if weights is None:
        return None
    problem = "token weights must be as many as the tokens of each sequence"
    try:
        flat = _numbers(weights)
    except ArgumentError as error:  # rows of several lengths
        if not isinstance(weights, Iterable):
            raise
        parts = [_numbers(part).reshape(-1) for part in weights]
        if [len(part) for part in parts] != lengths.tolist():
            raise ArgumentError(problem) from error
        flat = np.concatenate(parts)
    if flat.ndim > 1 and flat.shape != (len(lengths), lengths[0]):
        raise ArgumentError(problem)
    flat = np.array(flat.reshape(-1), dtype=np.float32)
    if len(flat) != int(lengths.sum()):
        raise ArgumentError(f"{len(flat)} token weights for {int(lengths.sum())} tokens")
    flat.setflags(write=False)
    return flat


def checked_slice(part: Any, count: int) -> range:
    """The indices of a slice. Raises `ArgumentError` if it is no slice of whole numbers."""
    if not isinstance(part, slice):
        raise ArgumentError("data is cut with a slice, such as data[:16]; see also data.sequences")
    try:
        return range(*part.indices(count))
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"the slice of data: {error}") from error


def checked_indices(indices: Any, count: int) -> list[int]:
    """Indices from 0 that a caller gave. Raises `ArgumentError` if one is out of range."""
    given = listed("indices", indices)
    return [checked_count("an index", index, -count, count - 1) for index in given]


def _numbers(given: Any) -> npt.NDArray[np.float32]:
    return as_array("token weights", given, np.float32)


def _is_record(given: Any) -> bool:
    """Whether something has named fields: a BatchEncoding, a row of a data set, a DataFrame."""
    if isinstance(given, Mapping) or type(given).__name__ == "Encoding":
        return True
    return hasattr(given, "columns") and hasattr(given, "keys")


def _of_record(given: Any) -> list[Any]:
    """The sequences of a record, without the padding that its attention mask names."""
    if type(given).__name__ == "Encoding":  # of the package tokenizers
        ids, attention = given.ids, given.attention_mask
    else:
        names = [str(name) for name in given.keys()]  # noqa: SIM118  a DataFrame's are its columns
        if _IDS not in names:
            there = ", ".join(names[:6]) or "nothing"
            raise ArgumentError(f'data lack "{_IDS}": a {_kind(given)} is given that has {there}')
        ids, attention = given[_IDS], given[_ATTENTION] if _ATTENTION in names else None
    rows = token_rows(ids)
    if attention is None:
        return rows
    masks = token_rows(attention)
    if len(masks) != len(rows):
        raise ArgumentError(f'{len(masks)} rows of "{_ATTENTION}" for {len(rows)} of "{_IDS}"')
    return [_unpadded(index, *pair) for index, pair in enumerate(zip(rows, masks, strict=True))]


def _unpadded(index: int, row: Any, attention: Any) -> Tokens:
    ids, mask = as_tokens(f"sequence {index}", row), as_tokens(f"{_ATTENTION} {index}", attention)
    if mask.shape != ids.shape or not ((mask == 0) | (mask == 1)).all():
        raise ArgumentError(f"{_ATTENTION} {index} is not one 0 or 1 for each token")
    kept = np.flatnonzero(mask)
    if len(kept) and kept[-1] - kept[0] + 1 != len(kept):
        raise ArgumentError(
            f"{_ATTENTION} {index} has a hole: tokens that are left out may only be padding, at "
            "one end or both; give sequences without it"
        )
    tokens: Tokens = ids[kept]
    return tokens


def _is_number(row: Any) -> bool:
    if isinstance(row, np.ndarray):
        return row.ndim == 0 and row.dtype.kind in "iuf"
    return isinstance(row, (int, float, np.integer, np.floating)) and not isinstance(row, bool)


def _whole(number: Any) -> int:
    if isinstance(number, bool) or not _is_number(number) or number != number // 1:
        raise ArgumentError(f"a token id is {shown(number)}, but must be a whole number")
    return int(number)


def _kind(given: Any) -> str:
    return type(given).__name__
