# SPDX-License-Identifier: Apache-2.0
"""Adapters: what emulates the removed sublayers of a model."""

from __future__ import annotations

import copy
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from prunecore._native.given import as_array, as_json, mapped
from prunecore._native.handle import Handle, Owner
from prunecore._native.json_files import read_json_file
from prunecore._native.library import _check, ffi, lib, new_struct
from prunecore._native.names.tables import PART
from prunecore._native.paths import as_path, shown
from prunecore._native.whole_file import make_parents
from prunecore.errors import ArgumentError, FormatError
from prunecore.masks.mask import Mask, as_keep, sublayer_index
from prunecore.measures import gradients
from prunecore.recovery.adapter_records import Adapter, RecoverySummary, TrainingRecord

if TYPE_CHECKING:
    from prunecore._native.names.tables import Part
    from prunecore.masks.mask import MaskLike
    from prunecore.model import RecoveredModel
    from prunecore.opened import OpenModel

Array = npt.NDArray[np.float32]
JSON_FILE = "adapters.json"


Row = TypeVar("Row")


class Adapters(Owner):
    """Adapters for the removed sublayers of one model, and the mask that removes them.

    `Model.recover`, `Moments.solve` and `Adapters.load` make them. An adapter stands in the place
    of a removed sublayer and adds bias + matrix @ x to the hidden state h of every token, where x
    is norm(h), with the norm of that sublayer, or h itself.

    Parameters
    ----------
    make : callable
        Given a `prune_adapters **`, makes the handle and returns a status.
    provenance : mapping, optional
        Where they come from, as JSON values; saved with them.
    """

    def __init__(
        self, make: Callable[[Any], int], provenance: Mapping[str, Any] | None = None
    ) -> None:
        self._handle = Handle("adapters", "prune_adapters", make, lib.prune_adapters_release)
        self._provenance = dict(provenance or {})

    @property
    def summary(self) -> RecoverySummary:
        """Adapters as a whole, and how they came about."""
        found = new_struct("prune_adapters_summary")
        _check(lib.prune_adapters_info(self.handle, found))
        return RecoverySummary.read(found)

    @property
    def mask(self) -> Mask:
        """The mask that they were made for."""
        keep = np.empty(2 * self.summary.n_blocks, dtype=np.uint8)
        out = ffi.from_buffer("uint8_t[]", keep)
        _check(lib.prune_adapters_mask(self.handle, out, len(keep), ffi.NULL))
        return Mask(keep)

    def check_mask(self, mask: MaskLike, model: OpenModel | None = None) -> None:
        """Raises `ArgumentError` unless they were made for this mask, of a model that may be given.

        What is absent from the model is removed in either mask.
        """
        own = self.mask
        keep = as_keep(mask, edits=None)
        if model is not None and keep is not None:
            own, keep = model.present(own), model.present(keep).keep
        if keep is not None and not np.array_equal(keep, own.keep):
            removed = ", ".join(Mask(keep).removed) or "nothing"
            raise ArgumentError(
                f"the adapters are for a mask that removes {', '.join(own.removed)}, but the one "
                f"given removes {removed}"
            )

    @property
    def provenance(self) -> dict[str, Any]:
        """Where they come from. A copy."""
        return copy.deepcopy(self._provenance)

    @property
    def sublayers(self) -> list[str]:
        """Names of the sublayers that have an adapter, in order: ["attn.3", "ffn.7"]."""
        return [adapter.name for adapter in self]

    def __len__(self) -> int:
        return self.summary.n_adapters

    def __iter__(self) -> Iterator[Adapter]:
        return iter(self._rows("prune_adapter", lib.prune_adapters_list, Adapter.read))

    def __getitem__(self, sublayer: int | str) -> Adapter:
        """What stands at a sublayer: `adapters["attn.3"]`."""
        index = self._index(sublayer)
        found: Adapter | None = next((a for a in self if a.sublayer == index), None)
        if found is None:
            standing = ", ".join(self.sublayers) or "none"
            raise ArgumentError(f"no adapter stands at {sublayer}, only at: {standing}")
        return found

    @property
    def history(self) -> list[TrainingRecord]:
        """Looks at the losses of the training, in order; none if there was no training."""
        return self._rows("prune_training_record", lib.prune_adapters_history, TrainingRecord.read)

    def _rows(self, kind: str, function: Any, read: Callable[[Any], Row]) -> list[Row]:
        """What a function lists. Rows are read while their array lives: they do not own memory."""
        count = ffi.new("size_t *")
        status = function(self.handle, ffi.NULL, 0, count)
        if status != lib.PRUNE_ERR_BUFFER:
            _check(status)
        out = ffi.new(f"{kind}[]", max(1, int(count[0])))
        _check(function(self.handle, out, count[0], count))
        return [read(out[index]) for index in range(count[0])]

    def _index(self, sublayer: int | str) -> int:
        return sublayer_index(sublayer, self.summary.n_blocks)

    def get(self, sublayer: int | str, part: Part) -> Array:
        """A copy of an array of an adapter.

        Parameters
        ----------
        sublayer : int or str
            Where it stands: "attn.3", or 6.
        part : {"bias", "down", "up", "matrix", "norm", "norm_bias"}
            bias: shape (hidden_size,). Of low_rank, down: (rank, hidden_size), and up:
            (hidden_size, rank); the matrix is up @ down. Of linear, matrix: (hidden_size,
            hidden_size). norm: the gain of its input's norm, (hidden_size,), and
            norm_bias its bias, of layer norms that have one.

        Raises
        ------
        ArgumentError
            No adapter stands there, or it has no such part.
        """
        adapter = self[sublayer]
        value = PART.value(part)
        count = ffi.new("size_t *")
        status = lib.prune_adapters_get(self.handle, adapter.sublayer, value, ffi.NULL, 0, count)
        if status != lib.PRUNE_ERR_BUFFER:
            _check(status)
        values = np.empty(int(count[0]), dtype=np.float32)
        out = ffi.from_buffer("float[]", values)
        _check(
            lib.prune_adapters_get(self.handle, adapter.sublayer, value, out, len(values), count)
        )
        return values.reshape(self._shape(adapter, PART.name(value)))

    def _shape(self, adapter: Adapter, part: str) -> tuple[int, ...]:
        width = self.summary.hidden_size
        shapes = {"down": (adapter.rank, width), "up": (width, adapter.rank)}
        return {**shapes, "matrix": (width, width)}.get(part, (width,))

    def set(self, sublayer: int | str, part: Part, values: npt.ArrayLike) -> None:
        """Replaces an array of an adapter; see `get`. The norm cannot be replaced.

        Raises
        ------
        ArgumentError
            The shape is another one; no adapter stands there, or it has no such part.
        NonFiniteError
            A value is NaN or infinite.
        """
        adapter = self[sublayer]
        value = PART.value(part)
        given = np.ascontiguousarray(as_array(f"the {part}", values, np.float32))
        shape = self._shape(adapter, PART.name(value))
        if given.shape != shape:
            raise ArgumentError(
                f"the {part} of {adapter.name} has the shape {shape}, but {given.shape} is given"
            )
        pointer = ffi.from_buffer("float[]", given)
        _check(lib.prune_adapters_set(self.handle, adapter.sublayer, value, pointer, given.size))

    def arrays(self, sublayer: int | str) -> dict[str, Array]:
        """Copies of all arrays of an adapter, by part; the norm is among them if it has one."""
        arrays: dict[str, Array] = {part: self.get(sublayer, part) for part in self[sublayer].parts}
        if "norm" in arrays and self._has(sublayer, "norm_bias"):
            arrays["norm_bias"] = self.get(sublayer, "norm_bias")
        return arrays

    def _has(self, sublayer: int | str, part: Part) -> bool:
        count, place = ffi.new("size_t *"), self[sublayer].sublayer
        status = lib.prune_adapters_get(self.handle, place, PART.value(part), ffi.NULL, 0, count)
        return bool(status == lib.PRUNE_ERR_BUFFER)

    def matrix(self, sublayer: int | str) -> Array:
        """The matrix of an adapter, multiplied out; zeros for a bias."""
        kind = self[sublayer].kind
        if kind == "linear":
            return self.get(sublayer, "matrix")
        if kind == "low_rank":
            made: Array = self.get(sublayer, "up") @ self.get(sublayer, "down")
            return made
        width = self.summary.hidden_size
        return np.zeros((width, width), dtype=np.float32)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the mask and all arrays: what identifies them in results."""
        digest = hashlib.sha256(self.mask.keep.tobytes())
        for adapter in self:
            digest.update(f"{adapter.name} {adapter.kind} {adapter.rank}".encode())
            for part, values in self.arrays(adapter.sublayer).items():
                digest.update(part.encode() + values.astype("<f4").tobytes())
        return digest.hexdigest()

    def attach(self, model: OpenModel) -> RecoveredModel:
        """The recovered model: `model`, with the adapters in the place of what was removed.

        It is a model of its own, and shares the weights of `model`, which is not changed.

        Raises
        ------
        ArgumentError
            The adapters are of another model.
        """
        made: RecoveredModel = model._recovered(self)
        return made

    def fold(self) -> tuple[Array, Adapters]:
        """Folds adapters that are biases into the biases of sublayers before them.

        Exact where no sublayer and no adapter with an input lies between the two.

        Returns
        -------
        biases : array of float32, shape (2 * n_blocks, hidden_size)
            What to add to the output bias of each kept sublayer; else 0.
        rest : Adapters
            Those that could not be folded, of the same mask. There may be none.
        """
        summary = self.summary
        biases = np.zeros((2 * summary.n_blocks, summary.hidden_size), dtype=np.float32)
        out = ffi.from_buffer("float[]", biases)
        rest = Adapters(
            lambda made: int(
                lib.prune_adapters_fold(self.handle, out, biases.size, ffi.NULL, made)
            ),
            self._provenance,
        )
        return biases, rest

    def save(
        self, directory: str | os.PathLike[str], provenance: Mapping[str, Any] | None = None
    ) -> None:
        """Writes them to a directory, as adapters.json and a safetensors file.

        Parameters
        ----------
        directory : path
            Made if it is not there; adapters in it are replaced.
        provenance : mapping, optional
            JSON values to keep with them besides their own provenance.
        """
        text = as_json("provenance", {**self._provenance, **mapped("provenance", provenance)})
        make_parents(as_path(directory, "the adapters' path") / JSON_FILE)
        _check(lib.prune_adapters_save(self.handle, _path(directory), text.encode()))

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Adapters:
        """Reads adapters from a directory that `save` wrote.

        Raises
        ------
        FileError
            A file is missing or unreadable.
        FormatError, UnsupportedError
            A file is damaged, or of a later version.
        """
        name = _path(directory)
        made = cls(lambda out: int(lib.prune_adapters_load(name, out)))
        # The library has checked the file; it hands out no provenance.
        try:
            made._provenance = read_json_file(as_path(directory) / JSON_FILE, _provenance)
        except BaseException:
            made.close()
            raise
        return made

    # Documented where it is defined.
    gradient = gradients.adapter_gradient

    def to_dict(self) -> dict[str, Any]:
        """What they are and how they came about, as JSON values; not the arrays."""
        return {
            "removed": self.mask.removed,
            "summary": self.summary.to_dict(),
            "adapters": [adapter.to_dict() for adapter in self],
            "history": [record.to_dict() for record in self.history],
            "sha256": self.digest,
            "provenance": self.provenance,
        }

    def __repr__(self) -> str:
        if self._handle.closed:
            return "Adapters(closed)"
        norm = math.sqrt(sum(a.bias_norm**2 + a.matrix_norm**2 for a in self))
        return f"Adapters({self.sublayers}, parameters={self.summary.parameters}, norm={norm:.3g})"


def _provenance(record: Any) -> dict[str, Any]:
    found = record.get("provenance") or {}
    if not isinstance(found, dict):
        raise FormatError(f'adapters whose "provenance" is {shown(found)}, not an object')
    return found


def _path(directory: str | os.PathLike[str]) -> bytes:
    return os.fsencode(as_path(directory, "the adapters' path"))
