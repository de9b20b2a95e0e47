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
from prunecore._native.library import _check, ffi, lib, written_text
from prunecore._native.names.units import sublayer_name
from prunecore._native.numbers import checked_count
from prunecore._native.paths import as_path, shown
from prunecore._native.reading import given_text, parse_json, read_text
from prunecore._native.whole_file import write_whole
from prunecore.errors import ArgumentError, FormatError, UnsupportedError
from prunecore.masks.edits import Edits, edits_text, read_edits
from prunecore.masks.notations import MOST_BLOCKS, read_mask, write_mask

if TYPE_CHECKING:
    MaskLike: TypeAlias = "Mask | npt.ArrayLike"

Keep = npt.NDArray[np.uint8]


class Mask:
    """Which sublayers are kept, after which edits. An immutable value.

    Masks are equal if they keep the same sublayers and have the same edits in the same order.

    Parameters
    ----------
    keep : array of 0 and 1, shape (2 * n_blocks,)
        1 = kept, 0 = removed. Entry 2i is the attention of block i, 2i + 1 its feed-forward.
    provenance : mapping, optional
        Where the mask comes from, as JSON values: method, metric, seed, data hash. It does not
        count for equality.
    edits : sequence of mapping, optional
        Changes of the weights that stay, made before anything is removed: see `Model.edited`. A
        mask that has some is for the model that they make, and other models refuse it.

    Raises
    ------
    ArgumentError
        The length is odd or zero, an entry is neither 0 nor 1, or the provenance cannot be written
        as JSON.
    FormatError, UnsupportedError
        An edit is none, or of a kind that this version does not know.
    """

    __slots__ = ("_edits", "_keep", "_provenance")

    def __init__(
        self,
        keep: npt.ArrayLike,
        provenance: Mapping[str, Any] | None = None,
        edits: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self._keep = _as_bytes(keep)
        self._provenance: dict[str, Any] = parse_json(as_json("provenance", provenance))
        given = edits_text(edits)
        self._edits: Edits = ()
        if given != "[]":  # as the library writes them, so that equal ones are equal
            self._edits = _from_json(_to_json(self._keep, given, b"{}").encode())[1]

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

    @property
    def edits(self) -> tuple[dict[str, Any], ...]:
        """Changes of the weights that stay, in the order in which they are made. A copy."""
        return copy.deepcopy(self._edits)

    def with_edits(self, edits: Iterable[Mapping[str, Any]]) -> Mask:
        """The mask with these edits in the place of its own."""
        return Mask(self._keep, self._provenance, edits)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Mask)
            and np.array_equal(self._keep, other._keep)
            and self._edits == other._edits
        )

    def __hash__(self) -> int:
        return hash(self._keep.tobytes())

    def __len__(self) -> int:
        return len(self._keep)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self._keep, dtype=dtype)

    def __repr__(self) -> str:
        edits = f", edits={list(self._edits)}" if self._edits else ""
        return f"Mask(n_blocks={self.n_blocks}, removed={self.removed}{edits})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Mask, (self._keep, self._provenance, self._edits)

    def to_json(self) -> str:
        """The mask as JSON: format, version, n_blocks, removed, edits if any, provenance."""
        provenance = json.dumps(self._provenance, ensure_ascii=False).encode()
        return _to_json(self._keep, edits_text(self._edits), provenance)

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
        keep, edits = _from_json(text.removeprefix("\ufeff").encode())
        # The library has checked the text; it reads no provenance.
        return cls(keep, parse_json(text).get("provenance"), edits)

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
        if self._edits and notation != "prunecore":
            raise UnsupportedError(
                f"the mask has edits of weights, which {notation} cannot say: export the model"
            )
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


def as_keep(
    mask: MaskLike | None, n_blocks: int | None = None, edits: Edits | None = ()
) -> Keep | None:
    """The bytes of a mask, an array of 0 and 1, or None; checked against a number of blocks.

    Parameters
    ----------
    mask : Mask or array, or None
        What the caller gave.
    n_blocks : int, optional
        Of the model.
    edits : tuple of dict or None
        Those of the model: a mask with others would be taken for what it is not. None where the
        sublayers of a mask are all that matters.
    """
    if mask is None:
        return None
    if edits is not None and isinstance(mask, Mask) and mask._edits not in ((), edits):
        raise ArgumentError(
            "the mask has edits of weights, which this model lacks: use the model that "
            "model.edited(mask) gives"
        )
    keep = mask.keep if isinstance(mask, Mask) else _as_bytes(mask)
    if n_blocks is not None and len(keep) != 2 * n_blocks:
        raise ArgumentError(f"the mask has {len(keep)} sublayers, but the model has {2 * n_blocks}")
    return keep


def keep_pointer(keep: Keep | None) -> tuple[Any, int]:
    """Pointer and length of a mask for C; NULL and 0 for None."""
    return (ffi.NULL, 0) if keep is None else (ffi.from_buffer("uint8_t[]", keep), len(keep))


def _to_json(keep: Keep, edits: str, provenance: bytes) -> str:
    given = ffi.from_buffer("uint8_t[]", keep), len(keep), edits.encode(), provenance
    return written_text(lib.prune_edited_mask_to_json, *given).decode()


def _from_json(text: bytes) -> tuple[Keep, Edits]:
    counts = ffi.new("size_t[2]")
    read = lib.prune_edited_mask_from_json
    status = read(text, ffi.NULL, 0, counts, ffi.NULL, 0, counts + 1)
    if status != lib.PRUNE_ERR_BUFFER:
        _check(status)
    keep = np.empty(int(counts[0]), dtype=np.uint8)
    edits = ffi.new("char[]", int(counts[1]))
    out = ffi.from_buffer("uint8_t[]", keep)
    _check(read(text, out, len(keep), counts, edits, len(edits), counts + 1))
    return keep, read_edits(edits)


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
