# SPDX-License-Identifier: Apache-2.0
"""Weights that the library holds in the places of those of a checkpoint: edited ones, and such."""

from __future__ import annotations

import json
import math
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from prunecore._native.library import _check, ffi, lib, written_text
from prunecore.tensors.stored import StoredTensor

Tensor_co = TypeVar("Tensor_co", covariant=True)
_KINDS = {"bf16": ("BF16", "<u2"), "fp16": ("F16", "<f2"), "fp32": ("F32", "<f4")}


class Tensors(Protocol[Tensor_co]):
    """Where tensors are found by name."""

    def __contains__(self, name: str) -> bool: ...

    def __getitem__(self, name: str) -> Tensor_co: ...

    @property
    def names(self) -> list[str]: ...


class Overlaid(Generic[Tensor_co]):
    """The tensors of a checkpoint, with others in the places of some.

    Parameters
    ----------
    stored : StoredTensors or GGUFSource
        Of the checkpoint.
    own : mapping of str to tensor
        What takes the places, by name.
    """

    def __init__(self, stored: Tensors[Tensor_co], own: dict[str, Tensor_co]) -> None:
        self._stored, self._own = stored, own

    def __contains__(self, name: str) -> bool:
        return name in self._own or name in self._stored

    def __getitem__(self, name: str) -> Tensor_co:
        return self._own[name] if name in self._own else self._stored[name]

    @property
    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(dict.fromkeys([*self._stored.names, *self._own]))


def own_arrays(handle: Any) -> dict[str, tuple[str, npt.NDArray[Any]]]:
    """What the library holds for a model: kinds as safetensors has them ("BF16"), and copies.

    Of bf16, NumPy has no type: its bits are uint16. Of a quantised type ("Q8_0"), the bytes of its
    blocks are given row by row.
    """
    found: dict[str, tuple[str, npt.NDArray[Any]]] = {}
    for entry in json.loads(written_text(lib.prune_model_own_weights, handle)):
        name, shape, type_ = entry["name"], entry["shape"], entry["element_type"]
        kind, dtype = _KINDS.get(type_, (type_.upper(), "u1"))
        if type_ in _KINDS:
            array = np.empty(math.prod(shape), dtype)
        else:
            needed = ffi.new("size_t *")
            lib.prune_model_own_weight(handle, name.encode(), ffi.NULL, 0, needed)
            array = np.empty(int(needed[0]), dtype)
            shape = (*shape[:-1], len(array) // math.prod(shape[:-1]))
        out = ffi.from_buffer(array)
        _check(lib.prune_model_own_weight(handle, name.encode(), out, array.nbytes, ffi.NULL))
        found[name] = kind, array.reshape(shape)
    return found


def own_tensors(handle: Any) -> dict[str, StoredTensor]:
    """The same as tensors of a checkpoint."""
    return {name: StoredTensor(name, *held) for name, held in own_arrays(handle).items()}
