# SPDX-License-Identifier: Apache-2.0
"""Arrays of other libraries, read where they lie, by the DLPack protocol.

The structs are those of dlpack.h. A capsule is looked into, not consumed: it stays the owner of
what it holds, and gives it back when it goes.
"""

from __future__ import annotations

import ctypes
from typing import Any

from prunecore.errors import ArgumentError, UnsupportedError

MAJOR = 1
READABLE_DEVICES = (1, 3, 11)
"""The CPU, and memory that the drivers of CUDA and ROCm have pinned for it."""

TYPES = {(2, 32): "float32", (2, 16): "float16", (4, 16): "bfloat16"}
"""Element types by code and bits."""


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype = ctypes.c_int
_is_valid.argtypes = (ctypes.py_object, ctypes.c_char_p)


class UnusableError(Exception):
    """An array is sound, but not of a kind that the library computes with."""


def read(array: Any, name: str) -> tuple[object, int, str, tuple[int, ...], tuple[int, ...] | None]:
    """Where the elements of an array lie.

    Returns
    -------
    owner : object
        The capsule: the memory stays for as long as it lives.
    address, element_type, shape, strides
        As in `LentTensor`.

    Raises
    ------
    UnusableError
        Its elements are of a type that the library does not compute with.
    UnsupportedError
        It is not in memory that the CPU reads, or its capsule is of another version.
    ArgumentError
        It cannot be exported.
    """
    if getattr(array, "requires_grad", False):  # PyTorch exports no tensor that may get a gradient
        array = array.detach()
    try:
        device, number = array.__dlpack_device__()
        if int(device) not in READABLE_DEVICES:
            raise UnsupportedError(
                f"array '{name}' lies on a device of DLPack type {int(device)}, number {number}; "
                "copy it to the CPU"
            )
        capsule = _export(array)
    except UnsupportedError:
        raise
    except Exception as error:  # producers raise what they like
        raise ArgumentError(f"array '{name}' cannot be exported by DLPack: {error}") from error
    tensor = _tensor(capsule, name)
    element_type = TYPES.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
    if element_type is None:
        raise UnusableError(
            f"has elements of DLPack type code {tensor.code} in {tensor.bits} bits; "
            "convert it to float32, float16 or bfloat16"
        )
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None
    return capsule, int(tensor.data or 0) + tensor.byte_offset, element_type, shape, strides


def _export(array: Any) -> object:
    """A capsule of the newest kind that the producer knows; never of a copy, if it can say so."""
    for keywords in ({"max_version": (MAJOR, 0), "copy": False}, {"max_version": (MAJOR, 0)}):
        try:
            return array.__dlpack__(**keywords)
        except TypeError:  # a producer of an older standard
            continue
    return array.__dlpack__()


def _tensor(capsule: object, name: str) -> Any:
    if _is_valid(capsule, b"dltensor_versioned"):
        pointer = _get_pointer(capsule, b"dltensor_versioned")
        versioned = ctypes.cast(pointer, ctypes.POINTER(_Versioned)).contents
        if versioned.major != MAJOR:
            raise UnsupportedError(
                f"array '{name}' is of DLPack version {versioned.major}.{versioned.minor}; "
                f"version {MAJOR} is read"
            )
        return versioned.tensor
    if _is_valid(capsule, b"dltensor"):  # before version 1: the tensor comes first
        pointer = _get_pointer(capsule, b"dltensor")
        return ctypes.cast(pointer, ctypes.POINTER(_Tensor)).contents
    raise ArgumentError(f"array '{name}' was exported as no DLPack capsule, but as {capsule!r}")
