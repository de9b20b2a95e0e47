# SPDX-License-Identifier: Apache-2.0
"""A GGUF file as what is exported: its tensors, in blocks or not, and its metadata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from prunecore._native.json_files import DAMAGE, reason
from prunecore.errors import FormatError, UnsupportedError
from prunecore.export.gguf.reader import open_file
from prunecore.tensors.stored import Floats

# Of what is written anew: by the names of the architecture, and for the tensors of this file.
_OWN = (
    "general.architecture",
    "general.alignment",
    "general.file_type",
    "general.quantization_version",
)
_KEPT = ("general.", "tokenizer.", "quantize.")
_PLAIN = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}


class BlockTensor:
    """A tensor of a GGUF file: as `StoredTensor`, and its rows as they are stored.

    Attributes
    ----------
    name : str
        As the file calls it.
    shape : tuple of int
        Rows first.
    element_type : str
        "fp32", "fp16", "bf16", or the name of a type with blocks, such as "q4_k".
    """

    def __init__(
        self,
        name: str,
        kind: gguf.GGMLQuantizationType,
        shape: tuple[int, ...],
        data: npt.NDArray[Any],
    ) -> None:
        self.name, self.kind, self.shape = name, kind, shape
        self.element_type = _PLAIN.get(kind.name, kind.name.lower())
        self._data = data

    def rows(self, which: slice | npt.NDArray[np.int64]) -> Floats:
        """Some rows (of a vector: entries) in float32, which holds all types exactly."""
        try:
            found = gguf.quants.dequantize(np.ascontiguousarray(self._data[which]), self.kind)
        except NotImplementedError as error:
            raise UnsupportedError(
                f"tensor {self.name} has type {self.kind.name}, which the package gguf does not "
                "take apart: keep it as it is (dtype='auto')"
            ) from error
        return np.asarray(found, dtype=np.float32)

    def stored_rows(self, which: npt.NDArray[np.int64]) -> bytes:
        """The bytes of some rows, as they are stored."""
        return bytes(np.ascontiguousarray(self._data[which]).tobytes())

    def part(self, expert: int | None, is_transposed: bool) -> BlockTensor:
        """What one expert has of it, without copying. No matrix of a file is transposed."""
        assert not is_transposed
        if expert is None:
            return self
        return BlockTensor(self.name, self.kind, self.shape[1:], self._data[expert])


def held_tensor(name: str, kind: str, held: npt.NDArray[Any]) -> BlockTensor:
    """A tensor that the library holds, as one of a file: see `prunecore.tensors.own`."""
    type_ = gguf.GGMLQuantizationType[kind]
    shape = held.shape
    if held.dtype == np.uint8:  # blocks
        elements, size = gguf.GGML_QUANT_SIZES[type_]
        shape = (*shape[:-1], shape[-1] // size * elements)
    return BlockTensor(name, type_, shape, held.view(np.uint8) if kind == "BF16" else held)


class GGUFSource:
    """All tensors of a file, or of those that a model is split into, and what they say.

    Raises
    ------
    FileError, FormatError
        A file is missing or unreadable; damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, BlockTensor] = {}
        self._reader = self._read(path)
        count = self._number("split.count", 1)
        for number in range(2, count + 1):
            ending = f"-00001-of-{count:05}.gguf"
            self._read(
                path.with_name(f"{path.name[: -len(ending)]}-{number:05}-of-{count:05}.gguf")
            )

    def _read(self, path: Path) -> gguf.GGUFReader:
        reader = open_file(path)
        try:
            for tensor in reader.tensors:
                shape = tuple(int(size) for size in reversed(tensor.shape))
                self._found[tensor.name] = BlockTensor(
                    tensor.name, tensor.tensor_type, shape, tensor.data
                )
        except DAMAGE as error:
            raise FormatError(f"{path} is damaged: {reason(error)}") from error
        return reader

    def _number(self, key: str, missing: int) -> int:
        field = self._reader.get_field(key)
        return missing if field is None else int(field.contents())

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __getitem__(self, name: str) -> BlockTensor:
        if name not in self._found:
            raise FormatError(f"{self.path} has no tensor {name}")
        return self._found[name]

    @property
    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._found)

    @property
    def file_type(self) -> int | None:
        """What `general.file_type` says."""
        field = self._reader.get_field("general.file_type")
        return None if field is None else int(field.contents())

    @property
    def has_tokenizer(self) -> bool:
        """Whether it takes text."""
        field = self._reader.get_field("tokenizer.ggml.model")
        return field is not None and field.contents() not in ("none", "no_vocab")

    def kept_fields(self) -> Iterator[tuple[str, Any, gguf.GGUFValueType, Any]]:
        """What an export takes along: key, value, its type, and that of entries of arrays."""
        for name, field in self._reader.fields.items():
            if name.startswith(_KEPT) and name not in _OWN and field.types:
                entries = field.types[-1] if len(field.types) > 1 else None
                yield name, field.contents(), field.types[0], entries
