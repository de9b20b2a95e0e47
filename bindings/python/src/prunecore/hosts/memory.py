# SPDX-License-Identifier: Apache-2.0
"""Arrays between the library's memory and a host's methods."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from prunecore._native.library import ffi
from prunecore.errors import HostError

Scalar = TypeVar("Scalar", bound=np.generic)


def copied(pointer: Any, shape: tuple[int, ...], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
    """An array of the host's own with what C gave."""
    made: npt.NDArray[Scalar] = _window(pointer, shape, dtype).copy()
    return made


def viewed(pointer: Any, shape: tuple[int, ...], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
    """What C gave where it lies: read-only, and to be used during the callback only."""
    window = _window(pointer, shape, dtype)
    window.flags.writeable = False
    return window


def optional_view(pointer: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float32] | None:
    """The same of an array of float32 that C may have left out."""
    return None if pointer == ffi.NULL else viewed(pointer, shape, np.float32)


def write(
    result: Any, pointer: Any, shape: tuple[int, ...], dtype: type[np.generic], what: str
) -> None:
    """Copies what a method returned to where C wants it.

    Parameters
    ----------
    result : array-like
        Of any real type.
    pointer : C pointer
        Room for the elements of `shape`, row after row.
    what : str
        The method, for errors.

    Raises
    ------
    HostError
        It is not an array of real numbers, or has another shape.
    """
    try:
        values = np.asarray(result)
    except Exception as error:
        raise HostError(f"{what} gave what NumPy cannot read as an array: {error}") from error
    if not np.can_cast(values.dtype, dtype, "same_kind"):
        kind = type(result).__name__ if values.dtype == object else str(values.dtype)
        raise HostError(f"{what} gave {kind}, but must give an array of real numbers")
    if values.shape != shape:
        raise HostError(
            f"{what} gave an array of the shape {values.shape}, but {shape} is asked for"
        )
    _window(pointer, shape, dtype)[...] = values


def _window(pointer: Any, shape: tuple[int, ...], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size == 0:  # C may give NULL then
        return np.empty(shape, dtype)
    return np.frombuffer(ffi.buffer(pointer, size), dtype=dtype).reshape(shape)
