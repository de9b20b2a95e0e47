# SPDX-License-Identifier: Apache-2.0
"""Tensors of NumPy, PyTorch and others as memory: where it lies, of which type, how far apart.

Nothing is copied. NumPy says so itself; everybody else speaks DLPack, whose structs are read here
as dlpack.h defines them.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from prunecore.errors import ArgumentError, Error, UnsupportedError

_ITEM_SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}
ELEMENT_TYPES = tuple(_ITEM_SIZES)
"""Names of the element types that the library reads, as NumPy and PyTorch have them."""
_DLPACK_TYPES = {(2, 32): "float32", (2, 16): "float16", (4, 16): "bfloat16"}
_DLPACK_TYPE_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}
_DLPACK_MAJOR = 1
_HOST_DEVICES = (1, 3, 11)
"""CPU, and memory of the CPU that CUDA or ROCm has pinned."""


@dataclass(frozen=True)
class TensorView:
    """Where a tensor lies.

    Parameters
    ----------
    address : int
        Of the first element.
    element_type : str
        "float32", "float16" or "bfloat16".
    shape, strides : tuple of int
        One entry per axis; strides in elements.
    owner : object
        Keeps the memory alive as long as the view.
    """

    address: int
    element_type: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    owner: object

    def __getitem__(self, index: int) -> TensorView:
        """The part at an index of the first axis."""
        offset = index * self.strides[0] * _ITEM_SIZES[self.element_type]
        address, shape, strides = self.address + offset, self.shape[1:], self.strides[1:]
        return TensorView(
            address=address,
            element_type=self.element_type,
            shape=shape,
            strides=strides,
            owner=self.owner,
        )


def view_of(name: str, tensor: Any) -> TensorView:
    """Looks at a tensor without copying it.

    Parameters
    ----------
    name : str
        What the caller calls it, for errors.
    tensor : array or tensor
        A NumPy array, or anything with `__dlpack__` in the memory of the CPU.

    Raises
    ------
    UnsupportedError
        It is on another device, or its elements are neither float32 nor float16 nor bfloat16.
    ArgumentError
        It is not a tensor, or does not hand its memory out.
    """
    if isinstance(tensor, np.ndarray):
        return _view_of_array(name, tensor)
    if hasattr(tensor, "__dlpack__"):
        try:
            return _view_of_dlpack(name, tensor)
        except Error:
            raise
        except Exception as error:  # what the tensor's own class raises
            raise ArgumentError(f"{name} cannot be read where it lies: {error}") from error
    kind = type(tensor).__name__
    raise ArgumentError(f"{name} is a {kind}; give a NumPy array, or a tensor that speaks DLPack")


def _view_of_array(name: str, array: np.ndarray[Any, Any]) -> TensorView:
    # NumPy has no bfloat16; that of the package ml_dtypes, which JAX uses, goes by this name.
    element_type = array.dtype.name if array.dtype.isnative else str(array.dtype)
    _check_type(name, element_type)
    strides = [divmod(stride, array.itemsize) for stride in array.strides]
    if any(rest for _, rest in strides):  # fields of records: no whole elements apart
        return _view_of_array(name, np.ascontiguousarray(array))
    address = int(array.__array_interface__["data"][0])
    return TensorView(
        address=address,
        element_type=element_type,
        shape=array.shape,
        strides=tuple(whole for whole, _ in strides),
        owner=array,
    )


def _check_type(name: str, element_type: str) -> None:
    if element_type not in _ITEM_SIZES:
        known = ", ".join(_ITEM_SIZES)
        raise UnsupportedError(f"{name} holds {element_type}; convert it to one of {known}")


class _DLTensor(ctypes.Structure):
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


class _DLManagedTensorVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("dl_tensor", _DLTensor),
    )


_capsule_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_capsule_is_valid.restype = ctypes.c_int
_capsule_is_valid.argtypes = [ctypes.py_object, ctypes.c_char_p]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def _view_of_dlpack(name: str, tensor: Any) -> TensorView:
    # A tensor of PyTorch that a gradient may flow through is not handed out; what it holds is.
    detach = getattr(tensor, "detach", None)
    source = detach() if callable(detach) else tensor
    device = int(source.__dlpack_device__()[0])
    if device not in _HOST_DEVICES:
        raise UnsupportedError(
            f"{name} is on another device than the CPU (DLPack's type {device}); copy it there, "
            "as with .cpu()"
        )
    # Never renamed, the capsule remains its own: it gives the tensor back when it goes.
    capsule = _capsule_of(source)
    if _capsule_is_valid(capsule, b"dltensor_versioned"):
        pointer = _capsule_pointer(capsule, b"dltensor_versioned")
        managed = ctypes.cast(pointer, ctypes.POINTER(_DLManagedTensorVersioned)).contents
        if managed.major != _DLPACK_MAJOR:
            raise UnsupportedError(f"{name} speaks version {managed.major} of DLPack, not 1")
        content = managed.dl_tensor
    elif _capsule_is_valid(capsule, b"dltensor"):
        pointer = _capsule_pointer(capsule, b"dltensor")
        content = ctypes.cast(pointer, ctypes.POINTER(_DLTensor)).contents
    else:
        raise ArgumentError(f"{name}.__dlpack__() gave no tensor")
    return _view_of_content(name, content, (capsule, source))


def _capsule_of(source: Any) -> object:
    """Of version 1, which hands out what is read-only, too; of before, if the producer is older."""
    try:
        return source.__dlpack__(max_version=(_DLPACK_MAJOR, 0))
    except TypeError:
        return source.__dlpack__()


def _view_of_content(name: str, content: _DLTensor, owner: object) -> TensorView:
    code = _DLPACK_TYPE_CODES.get(content.code, f"type {content.code} of DLPack, bits: ")
    element_type = _DLPACK_TYPES.get((content.code, content.bits), f"{code}{content.bits}")
    _check_type(name, element_type if content.lanes == 1 else f"{element_type}x{content.lanes}")
    shape = tuple(content.shape[: content.ndim])
    if content.strides:
        strides = tuple(content.strides[: content.ndim])
    else:
        strides = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    address = (content.data or 0) + content.byte_offset
    return TensorView(
        address=address, element_type=element_type, shape=shape, strides=strides, owner=owner
    )
