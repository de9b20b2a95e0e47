# SPDX-License-Identifier: Apache-2.0
"""What callers give as lists, mappings, JSON values or arrays, as this package works with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore._native.paths import shown
from prunecore.errors import ArgumentError, OutOfMemoryError


def listed(name: str, given: Any) -> list[Any]:
    """The entries of what a caller gave as a list. Raises `ArgumentError` if it is none."""
    if not isinstance(given, (str, bytes)) and isinstance(given, Iterable):
        try:
            return list(given)
        except TypeError:  # an array without dimensions
            pass
    raise ArgumentError(f"{name} is {shown(given)}, but must be a list")


def mapped(name: str, given: Any) -> dict[Any, Any]:
    """What a caller gave as a mapping; none for None. Raises `ArgumentError` if it is none."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ArgumentError(f"{name} is {shown(given)}, but must be a mapping")
    return dict(given)


def as_json(name: str, given: Any) -> str:
    """What a caller gave as a mapping of JSON values, as ASCII text; an empty one for None.

    Raises
    ------
    ArgumentError
        It is no mapping, or JSON lacks something in it, NaN included.
    """
    values = mapped(name, given)
    try:
        return json.dumps(values, allow_nan=False)
    except Exception as error:  # of the encoder, or of the caller's own classes
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ArgumentError(f"{name} cannot be written as JSON: {reason}") from error


def as_array(name: str, given: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """What a caller gave as an array: of NumPy, a tensor of any device, or nested lists.

    Parameters
    ----------
    name : str
        What errors call it.
    given : array-like
        What the caller gave.
    dtype : dtype, optional
        That of the result; None for its own.

    Raises
    ------
    ArgumentError
        It cannot be read as such an array; the text says why.
    OutOfMemoryError
        The array does not fit into memory.
    """
    try:
        with np.errstate(over="ignore"):  # infinity is refused later, by name
            return np.asarray(plain(given), dtype=dtype)
    except ArgumentError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{name}: there is no memory for a copy") from error
    except Exception as error:  # NumPy's own, and what the caller's own class raises
        raise ArgumentError(f"{name} cannot be read as an array of numbers: {error}") from error


def plain(given: Any) -> Any:
    """An array of NumPy in place of a tensor of any device, or a list in place of a column.

    Raises
    ------
    ArgumentError
        It has no such array: a sparse tensor, one without data, or a class that fails.
    """
    try:
        return _plain(given)
    except (ArgumentError, MemoryError):
        raise
    except Exception as error:  # PyTorch's own, and what the caller's own class raises
        raise ArgumentError(f"a {type(given).__name__} has no array in NumPy: {error}") from error


def _plain(given: Any) -> Any:
    if hasattr(given, "to_pylist"):  # an array of Arrow
        return given.to_pylist()
    if hasattr(given, "detach") and hasattr(given, "cpu"):  # a tensor of PyTorch
        tensor = given.detach().cpu()
        is_float = getattr(getattr(tensor, "dtype", None), "is_floating_point", False)
        return (tensor.double() if is_float else tensor).numpy()  # of bf16, NumPy has no type
    if isinstance(given, (np.ndarray, list, tuple, range)) or not hasattr(given, "__array__"):
        if isinstance(given, (list, tuple)) and any(hasattr(entry, "detach") for entry in given):
            return [plain(entry) for entry in given]
        if isinstance(given, Iterable) and not hasattr(given, "__len__"):
            return list(given)
        return given
    return np.asarray(given)
