# SPDX-License-Identifier: Apache-2.0
"""Keep masks: which sublayers of a model take part."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from prunecore._native.given import as_array, as_json, listed
from prunecore._native.library import _check, ffi, lib
from prunecore._native.names.units import sublayer_name
from prunecore._native.numbers import checked_count
from prunecore._native.paths import as_path, shown
from prunecore._native.reading import given_text, parse_json, read_text
from prunecore._native.whole_file import write_whole
from prunecore.errors import ArgumentError, FormatError, UnsupportedError
from prunecore.masks.notations import MOST_BLOCKS, read_mask, write_mask

if TYPE_CHECKING:
    MaskLike: TypeAlias = "Mask | npt.ArrayLike"

Keep = npt.NDArray[np.uint8]


class Mask:
    """Which sublayers are kept. An immutable value; equal masks keep the same sublayers.

    Parameters
    ----------
    keep : array of 0 and 1, shape (2 * n_blocks,)
        1 = kept, 0 = removed. Entry 2i is the attention of block i, 2i + 1 its feed-forward.
    provenance : mapping, optional
        Where the mask comes from, as JSON values: method, metric, seed, data hash. It does not
        count for equality.

    Raises
    ------
    ArgumentError
        The length is odd or zero, an entry is neither 0 nor 1, or the provenance cannot be written
        as JSON.
    """

    __slots__ = ("_keep", "_provenance")

    def __init__(self, keep: npt.ArrayLike, provenance: Mapping[str, Any] | None = None) -> None:
        self._keep = _as_bytes(keep)
        self._provenance: dict[str, Any] = parse_json(as_json("provenance", provenance))

    @classmethod
    def all(cls, n_blocks: int) -> Mask:
        """The mask that keeps everything."""
        count = checked_count("n_blocks", n_blocks, 1, MOST_BLOCKS)
        return cls(np.ones(2 * count, dtype=np.uint8))

    @classmethod
    def remove(
        cls, names: str | Iterable[str], n_blocks: int, provenance: Mapping[str, Any] | None = None
    ) -> Mask:
        """The mask that lacks these sublayers: "attn.3", "ffn.3", or "block.3" for both."""
        keep = cls.all(n_blocks).keep.copy()
        for name in [names] if isinstance(names, str) else listed("names", names):
            keep[sublayer_indices(name, n_blocks)] = 0
        return cls(keep, provenance)

    @property
    def keep(self) -> Keep:
        """One byte per sublayer, 1 = kept; read-only, shape (2 * n_blocks,)."""
        return self._keep

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the model that the mask is for."""
        return len(self._keep) // 2

    @property
    def removed(self) -> list[str]:
        """Names of the removed sublayers, in order: ["attn.3", "ffn.7"]."""
        return [sublayer_name(int(index)) for index in np.flatnonzero(self._keep == 0)]

    @property
    def kept(self) -> list[str]:
        """Names of the kept sublayers, in order."""
        return [sublayer_name(int(index)) for index in np.flatnonzero(self._keep)]

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the mask comes from. A copy."""
        return copy.deepcopy(self._provenance)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and np.array_equal(self._keep, other._keep)

    def __hash__(self) -> int:
        return hash(self._keep.tobytes())

    def __len__(self) -> int:
        return len(self._keep)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self._keep, dtype=dtype)

    def __repr__(self) -> str:
        return f"Mask(n_blocks={self.n_blocks}, removed={self.removed})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Mask, (self._keep, self._provenance)

    def to_json(self) -> str:
        """The mask as JSON: format, version, n_blocks, removed, provenance."""
        provenance = json.dumps(self._provenance, ensure_ascii=False).encode()
        keep = ffi.from_buffer("uint8_t[]", self._keep)
        needed = ffi.new("size_t *")
        status = lib.prune_mask_to_json(keep, len(self._keep), provenance, ffi.NULL, 0, needed)
        if status != lib.PRUNE_ERR_BUFFER:
            _check(status)
        out = ffi.new("char[]", needed[0])
        _check(lib.prune_mask_to_json(keep, len(self._keep), provenance, out, needed[0], needed))
        return str(ffi.string(out).decode())

    @classmethod
    def from_json(cls, text: str) -> Mask:
        """Reads a mask from what `to_json` writes.

        Raises
        ------
        FormatError
            The text is not a mask; it says what is wrong.
        """
        if "\0" in given_text("mask JSON", text):
            raise FormatError("mask JSON holds a NUL character")
        encoded = text.removeprefix("\ufeff").encode()
        needed = ffi.new("size_t *")
        status = lib.prune_mask_from_json(encoded, ffi.NULL, 0, needed)
        if status != lib.PRUNE_ERR_BUFFER:
            _check(status)
        keep = np.empty(int(needed[0]), dtype=np.uint8)
        out = ffi.from_buffer("uint8_t[]", keep)
        _check(lib.prune_mask_from_json(encoded, out, len(keep), needed))
        # The library has checked the text; it reads the mask alone.
        return cls(keep, parse_json(text).get("provenance"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the mask as JSON to a file."""
        write_whole(path, self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Mask:
        """Reads a mask from a file that `save` wrote."""
        file = as_path(path)
        text = read_text(file)
        try:
            return cls.from_json(text)
        except (FormatError, UnsupportedError) as error:
            raise type(error)(f"{file} cannot be read: {error}") from error

    @classmethod
    def read(
        cls,
        source: str | os.PathLike[str],
        notation: str | None = None,
        n_blocks: int | None = None,
    ) -> Mask:
        """Reads a mask that another tool wrote: see `prunecore.masks.notations.read_mask`."""
        return read_mask(source, notation, n_blocks, native=cls.from_json, made=cls)

    def write(self, notation: str = "prunecore", *, model: str | None = None) -> str:
        """The text of the mask for another tool: see `prunecore.masks.notations.write_mask`."""
        native = self.to_json() + "\n"
        return write_mask(self._keep, notation, native=native, model=model)


def sublayer_index(sublayer: int | str, n_blocks: int, *, after: bool = False) -> int:
    """Index of a sublayer that is given by that or by its name, such as "attn.3".

    Parameters
    ----------
    sublayer : int or str
        What the caller gave.
    n_blocks : int
        Of the model.
    after : bool
        Whether 2 * n_blocks is allowed, too: the place after the last sublayer.
    """
    if isinstance(sublayer, str):
        indices = sublayer_indices(sublayer, n_blocks)
        if len(indices) != 1:
            raise ArgumentError(f"'{sublayer}' is two sublayers: name one, attn or ffn")
        return indices[0]
    return checked_count("sublayer", sublayer, 0, 2 * n_blocks - (0 if after else 1))


def as_keep(mask: MaskLike | None, n_blocks: int | None = None) -> Keep | None:
    """The bytes of a mask, an array of 0 and 1, or None; checked against a number of blocks."""
    if mask is None:
        return None
    keep = mask.keep if isinstance(mask, Mask) else _as_bytes(mask)
    if n_blocks is not None and len(keep) != 2 * n_blocks:
        raise ArgumentError(f"the mask has {len(keep)} sublayers, but the model has {2 * n_blocks}")
    return keep


def keep_pointer(keep: Keep | None) -> tuple[Any, int]:
    """Pointer and length of a mask for C; NULL and 0 for None."""
    return (ffi.NULL, 0) if keep is None else (ffi.from_buffer("uint8_t[]", keep), len(keep))


def _as_bytes(keep: npt.ArrayLike) -> Keep:
    values = as_array("a mask", keep)
    if values.ndim != 1 or len(values) == 0 or len(values) % 2:
        raise ArgumentError(
            f"a mask has one entry per sublayer, two per block, but its shape is {values.shape}"
        )
    if values.dtype.kind not in "buif" or not np.all((values == 0) | (values == 1)):
        raise ArgumentError("the entries of a mask are 0 (removed) or 1 (kept)")
    result: Keep = values.astype(np.uint8)
    result.setflags(write=False)
    return result


def sublayer_indices(name: str, n_blocks: int) -> list[int]:
    """Indices of the sublayers that a name stands for: one of "attn.3", two of "block.3"."""
    kind, _, number = str(name).partition(".")
    if kind not in ("attn", "ffn", "block") or not re.fullmatch(r"[0-9]{1,9}", number):
        raise ArgumentError(
            f"unknown sublayer {shown(name)}: names look like attn.3, ffn.3 and block.3"
        )
    block = int(number)
    if block >= n_blocks:
        raise ArgumentError(f"'{name}' is beyond the last block, {n_blocks - 1}")
    return {"attn": [2 * block], "ffn": [2 * block + 1], "block": [2 * block, 2 * block + 1]}[kind]
