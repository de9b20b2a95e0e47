# SPDX-License-Identifier: Apache-2.0
"""Types of the numbers in a GGUF file, and the bytes that they make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import gguf
import numpy as np

from prunecore.errors import ArgumentError, NonFiniteError
from prunecore.tensors.stored import Floats

NumberType: TypeAlias = Literal["auto", "F32", "F16", "BF16", "Q8_0"]
_Type = gguf.GGMLQuantizationType

_NAMED = {"F32": _Type.F32, "F16": _Type.F16, "BF16": _Type.BF16, "Q8_0": _Type.Q8_0}
_STORED = {"fp32": _Type.F32, "fp16": _Type.F16, "bf16": _Type.BF16}
_STORED |= {kind.name.lower(): kind for kind in _Type if gguf.GGML_QUANT_SIZES[kind][0] > 1}
_FILE_TYPES = {
    _Type.F32: gguf.LlamaFileType.ALL_F32,
    _Type.F16: gguf.LlamaFileType.MOSTLY_F16,
    _Type.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    _Type.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
}
Q8_0_BLOCK = 32


class NumberTypes:
    """Which type each tensor of a file has. Vectors are float32: llama.cpp wants that.

    Parameters
    ----------
    name : {"auto", "F32", "F16", "BF16", "Q8_0"}
        Of matrices. "auto" keeps the type that each is stored in, and adapters in float32.
    stored : str
        In which most weights of the model are stored: "bf16", "fp16", "fp32", or a type of GGUF.
    file_type : int, optional
        What a file says that is kept as it is. Default: what the types are.

    Raises
    ------
    ArgumentError
        The name is another.
    """

    def __init__(self, name: str, stored: str, file_type: int | None = None) -> None:
        if name != "auto" and name not in _NAMED:
            raise ArgumentError(f"unknown dtype '{name}': auto, {', '.join(_NAMED)}")
        self._named = _NAMED.get(name)
        self._usual = _STORED[stored] if self._named is None else self._named
        self._file_type = file_type if self._named is None else None

    @property
    def file_type(self) -> int:
        """What `general.file_type` says of the file."""
        if self._file_type is not None:
            return self._file_type
        return _FILE_TYPES.get(self._usual, gguf.LlamaFileType.GUESSED)

    def of_stored(self, element_types: Iterable[str], width: int) -> _Type:
        """Of a matrix that is put together of stored ones: the widest of theirs."""
        kinds = {_STORED[kind] for kind in element_types} if self._named is None else {self._named}
        return self._fitting(kinds.pop() if len(kinds) == 1 else _Type.F32, width)

    def of_scaled(self, width: int) -> _Type:
        """Of a stored matrix times a number: "auto" keeps all digits of the product."""
        return self.of_adapter(width)

    def of_adapter(self, width: int) -> _Type:
        """Of an adapter's matrix, with rows of this length."""
        return self._fitting(_Type.F32 if self._named is None else self._named, width)

    def of_zeros(self, width: int) -> _Type:
        """Of a matrix of zeros, with rows of this length."""
        # Blocks of the other types are for rows that these may not be.
        plain = self._usual if self._usual in _FILE_TYPES else _Type.F16
        return self._fitting(plain, width)

    @staticmethod
    def _fitting(wanted: _Type, width: int) -> _Type:
        """float16 for rows that blocks of quantised numbers do not divide, as llama.cpp does."""
        return _Type.F16 if wanted is _Type.Q8_0 and width % Q8_0_BLOCK else wanted


def row_bytes(shape: Iterable[int], kind: _Type) -> int:
    """Bytes of a row of matrices, or of an entry of a vector."""
    sizes = list(shape)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return (sizes[-1] // block * size) if len(sizes) > 1 else size


def encode(name: str, values: Floats, kind: _Type) -> bytes:
    """Rows of a tensor as the file holds them, little-endian.

    Raises
    ------
    NonFiniteError
        A value is not finite, or too large for float16.
    """
    if not np.isfinite(values).all():
        raise NonFiniteError(f"tensor {name} holds NaN or infinity")
    if kind is _Type.F32:
        return values.astype("<f4").tobytes()
    if kind is _Type.F16:
        with np.errstate(over="ignore"):
            halves = values.astype("<f2")
        if not np.isfinite(halves).all():
            raise NonFiniteError(f"tensor {name} has values beyond float16: use BF16, F32 or Q8_0")
        return halves.tobytes()
    return gguf.quants.quantize(np.ascontiguousarray(values), kind).tobytes()
