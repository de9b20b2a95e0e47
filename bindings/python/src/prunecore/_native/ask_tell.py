# SPDX-License-Identifier: Apache-2.0
"""What games and searches have in common: they ask for values of rows, and are told them.

Rows are of 0 and 1: coalitions of a game, whose values are worths, or masks of a search, whose
values are damages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from prunecore._native.given import as_array
from prunecore._native.handle import Handle, Owner
from prunecore._native.library import _check, ffi, lib
from prunecore._native.numbers import checked_count
from prunecore.errors import ArgumentError

if TYPE_CHECKING:
    from typing_extensions import Self

Rows = npt.NDArray[np.uint8]

ASKED_BYTES = 1 << 24
"""Rows are fetched in pieces of this size, however many are asked for."""


class AskTellCalls(NamedTuple):
    """The C functions of one kind of `AskTell`, and the words for it in errors.

    Attributes
    ----------
    noun : str
        What it is: "game".
    row, value : str
        What is asked for, and what is told of it: "coalition" and "worth".
    ask, tell, save, load, release : C functions
        Those of the header.
    """

    noun: str
    row: str
    value: str
    ask: Any
    tell: Any
    save: Any
    load: Any
    release: Any


class AskTell(Owner, ABC):
    """Asks for values of rows of 0 and 1, is told them in any order, and can be saved in between.

    A subclass names its `_calls`, makes itself through `_begin`, and documents `ask`, `tell` and
    `load`.
    """

    _calls: ClassVar[AskTellCalls]
    _width: int
    """Entries of a row."""

    def _begin(self, make: Callable[[Any], int]) -> None:
        """Takes the handle that `make` makes, given a pointer to where it goes."""
        noun = self._calls.noun
        self._handle = Handle(noun, f"prune_{noun}", make, self._calls.release)
        self._width = self._row_width()

    @abstractmethod
    def _row_width(self) -> int:
        """Entries of a row, by what the handle says."""

    @property
    def _piece(self) -> int:
        """Rows of one call to C at most."""
        return max(1, ASKED_BYTES // self._width)

    def _ask(self, most: int, *further: Any) -> npt.NDArray[np.bool_]:
        """At most so many rows, in as many calls as they take; `further` arguments go to C."""
        left = checked_count("most", most, 0)
        found: list[Rows] = []
        while True:
            rows = self._ask_once(left, *further)
            found.append(rows)
            left -= len(rows)
            if left == 0 or len(rows) < self._piece:
                return np.concatenate(found).astype(np.bool_)

    def _ask_once(self, most: int, *further: Any) -> Rows:
        """The rows of one call: `most`, but no more than a piece."""
        rows = np.empty((min(most, self._piece), self._width), dtype=np.uint8)
        count = ffi.new("size_t *")
        out = ffi.from_buffer("uint8_t[]", rows)
        _check(self._calls.ask(self.handle, len(rows), out, count, *further))
        return rows[: int(count[0])]

    def _tell(self, rows: npt.ArrayLike, values: npt.ArrayLike) -> None:
        """Tells values of rows that were asked for: all of them or, on error, none."""
        nouns = self._calls.row, self._calls.value
        checked, numbers = told_values(rows, values, self._width, nouns)
        _check(
            self._calls.tell(
                self.handle,
                ffi.from_buffer("uint8_t[]", checked),
                ffi.from_buffer("double[]", numbers),
                len(numbers),
            )
        )

    def save(self) -> bytes:
        """All of it as bytes: versioned, checksummed, the same on every machine.

        What was asked for and not told is asked for again after loading.
        """
        needed = ffi.new("size_t *")
        status = self._calls.save(self.handle, ffi.NULL, 0, needed)
        if status != lib.PRUNE_ERR_BUFFER:
            _check(status)
        out = ffi.new("uint8_t[]", needed[0])
        _check(self._calls.save(self.handle, out, needed[0], needed))
        return bytes(ffi.buffer(out, needed[0]))

    @classmethod
    def _loaded(cls, data: bytes) -> Self:
        """What `save` gave, made again."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise ArgumentError(
                f"a saved {cls._calls.noun} is bytes, but this is {type(data).__name__}"
            )
        given = bytes(data)
        made = cls.__new__(cls)
        made._begin(lambda out: int(cls._calls.load(ffi.from_buffer(given), len(given), out)))
        return made

    @classmethod
    @abstractmethod
    def load(cls, data: bytes) -> Self:
        """Loads what `save` gave."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).load, (self.save(),)


def told_values(
    rows: npt.ArrayLike, values: npt.ArrayLike, width: int, nouns: tuple[str, str]
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Rows of `width` entries and their values as C takes them; errors call them by `nouns`."""
    row, value = nouns
    entries = as_array(f"the {row}s", rows)
    numbers = as_array(f"the {value}s", values, np.float64)
    if entries.ndim == 1 and numbers.ndim == 0:
        entries, numbers = entries[np.newaxis], numbers[np.newaxis]
    if entries.ndim != 2 or entries.shape[1] != width or numbers.shape != (len(entries),):
        raise ArgumentError(
            f"the {row}s have shape {entries.shape} and the {value}s {numbers.shape}, but (m, "
            f"{width}) and (m,) are needed"
        )
    if entries.dtype.kind not in "buif" or not np.all((entries == 0) | (entries == 1)):
        raise ArgumentError(f"the entries of a {row} are 0 (absent) or 1 (present)")
    return np.ascontiguousarray(entries, dtype=np.uint8), np.ascontiguousarray(numbers)
