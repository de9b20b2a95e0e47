# SPDX-License-Identifier: Apache-2.0
"""Memory of Python objects, lent to the library for as long as it needs it."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from prunecore._native.library import ffi, lib, new_struct
from prunecore._native.names.tables import COMPUTE, Compute
from prunecore.errors import ArgumentError
from prunecore.tensors.views import TensorView


class _Kept:
    """Objects that the library uses, each under a number that stands for it in C."""

    def __init__(self) -> None:
        self._objects: dict[int, object] = {}
        self._numbers = itertools.count(1)
        self._cast = ffi.cast
        self.callback = ffi.callback("prune_close_fn", self._close)
        # Models may be given back when the interpreter has already let this module go: the callback
        # must then still be there, so that it is never freed.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def keep(self, kept: object) -> int:
        number = next(self._numbers)
        self._objects[number] = kept
        return number

    def let_go(self, number: int) -> None:
        self._objects.pop(number, None)

    def _close(self, user_data: Any) -> None:
        self.let_go(int(self._cast("uintptr_t", user_data)))


_kept = _Kept()


def lend(
    config_json: str, tensors: Mapping[str, TensorView], kept: object, compute: Compute | None
) -> Callable[[Any], int]:
    """What makes a model over tensors in memory, for `Model._adopt`.

    Parameters
    ----------
    config_json : str
        The text of config.json.
    tensors : mapping of str to TensorView
        Kept until nothing of the library uses them.
    kept : object
        Whatever else is kept so long.
    compute : {"float32", "bfloat16"}, optional
    """
    text = _c_string(config_json, "the configuration")
    views = dict(tensors)
    names = [_c_string(name, "a tensor's name") for name in views]
    options = new_struct("prune_model_options")
    options.compute = COMPUTE.value(compute)

    def make(out: Any) -> int:
        held: list[Any] = [ffi.new("char[]", name) for name in names]
        array = ffi.new("prune_tensor[]", len(names))
        for entry, name, view in zip(array, list(held), views.values(), strict=True):
            shape = ffi.new("int64_t[]", list(view.shape))
            strides = ffi.new("int64_t[]", list(view.strides))
            held += [shape, strides]
            entry.name = name
            entry.data = ffi.cast("void *", view.address)
            entry.element_type = _element_type(view.element_type)
            entry.n_dimensions = len(view.shape)
            entry.shape = shape
            entry.strides = strides
        number = _kept.keep((views, kept))
        options.on_close = _kept.callback
        options.user_data = ffi.cast("void *", number)
        status = int(lib.prune_model_from_tensors(text, array, len(names), options, out))
        if status != lib.PRUNE_OK:
            _kept.let_go(number)
        return status

    return make


def _element_type(name: str) -> int:
    return int(ffi.integer_const(f"PRUNE_ELEMENT_{name.upper()}"))


def _c_string(text: str, what: str) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise ArgumentError(f"{what} is not text that UTF-8 can hold: {error.reason}") from error
    if b"\0" in encoded:
        raise ArgumentError(f"{what} holds a NUL character")
    return encoded
