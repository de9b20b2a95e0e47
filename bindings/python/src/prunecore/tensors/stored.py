# SPDX-License-Identifier: Apache-2.0
"""The tensors of a Hugging Face directory, read where they lie: nothing is loaded unused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore._native.inner_path import inner_path
from prunecore._native.json_files import DAMAGE, damage_named, read_json_object, reason
from prunecore._native.reading import LFS_POINTER, check_no_pointer
from prunecore.errors import FileError, FormatError

Floats = npt.NDArray[np.float32]

# Of bf16, NumPy has no type: its bits are the upper half of a float32.
_TYPES: dict[str, tuple[str, Any]] = {
    "BF16": ("bf16", np.dtype("<u2")),
    "F16": ("fp16", np.dtype("<f2")),
    "F32": ("fp32", np.dtype("<f4")),
}

_PART = 1 << 24  # bytes compared at once


class StoredTensor:
    """A tensor in a mapped safetensors file.

    Attributes
    ----------
    name : str
        As the checkpoint calls it.
    shape : tuple of int
        Of one to three dimensions; of three, the first one counts experts.
    element_type : {"bf16", "fp16", "fp32"}
        How it is stored.
    """

    def __init__(self, name: str, kind: str, stored: npt.NDArray[Any]) -> None:
        self.name = name
        self._kind = kind
        self.element_type, _ = _TYPES[kind]
        self.shape: tuple[int, ...] = stored.shape
        self._stored = stored

    def rows(self, which: slice | npt.NDArray[np.int64]) -> Floats:
        """Some rows (of a vector: entries) in float32, which holds the stored types exactly."""
        stored = self._stored[which]
        if self.element_type == "bf16":
            made: Floats = (stored.astype(np.uint32) << 16).view(np.float32)
            return made
        return np.asarray(stored, dtype=np.float32)

    def part(self, expert: int | None, is_transposed: bool) -> StoredTensor:
        """The same without copying: what one expert has of it, with rows and columns exchanged."""
        stored = self._stored if expert is None else self._stored[expert]
        return StoredTensor(self.name, self._kind, stored.T if is_transposed else stored)

    def equals(self, other: StoredTensor) -> bool:
        """Whether both are stored alike, bit for bit; read a part at a time."""
        if (self.element_type, self.shape) != (other.element_type, other.shape):
            return False
        rows = max(1, _PART // max(1, self._stored[:1].nbytes))
        return all(
            self._stored[at : at + rows].tobytes() == other._stored[at : at + rows].tobytes()
            for at in range(0, self.shape[0], rows)
        )


class StoredTensors:
    """All tensors of a directory with `model.safetensors`, or with the shards of its index.

    `prunecore.open` has read the same files before and has checked them; what is checked here is
    what reading needs.

    Raises
    ------
    FileError
        A file is missing or unreadable.
    FormatError
        It is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._found: dict[str, StoredTensor] = {}
        for file in weight_files(directory):
            self._map(file)

    def __contains__(self, name: str) -> bool:
        return name in self._found

    @property
    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._found)

    def get(self, name: str) -> StoredTensor | None:
        """A tensor; None if there is none of that name."""
        return self._found.get(name)

    def __getitem__(self, name: str) -> StoredTensor:
        if name not in self._found:
            raise FormatError(f"{self._directory} has no tensor {name}")
        return self._found[name]

    def _map(self, file: Path) -> None:
        try:
            content = np.memmap(file, dtype=np.uint8, mode="r")
            length = int.from_bytes(content[:8].tobytes(), "little")
            check_no_pointer(content[: len(LFS_POINTER)].tobytes(), str(file))
            header = json.loads(content[8 : 8 + length].tobytes())
        except OSError as error:
            raise FileError(f"{file} cannot be read: {error.strerror or error}") from error
        except FormatError:
            raise
        except (ValueError, OverflowError, RecursionError) as error:
            raise FormatError(f"{file} is not a safetensors file: {error}") from error
        try:
            self._add(file, content, length, header)
        except FormatError:
            raise
        except DAMAGE as error:
            raise FormatError(f"{file} is damaged: {reason(error)}") from error

    def _add(self, file: Path, content: Any, length: int, header: Any) -> None:
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            kind, shape = str(entry["dtype"]), tuple(int(size) for size in entry["shape"])
            if kind not in _TYPES or len(shape) not in (1, 2, 3):
                continue  # no weight of a model that was opened
            begin, end = (8 + length + int(offset) for offset in entry["data_offsets"])
            _, dtype = _TYPES[kind]
            if (
                not 8 + length <= begin <= end <= len(content)
                or min(shape) < 0
                or (end - begin != math.prod(shape) * dtype.itemsize)
            ):
                raise FormatError(f"{file} is damaged: tensor {name} does not fit its bytes")
            values = np.ndarray(shape, dtype, buffer=content.data, offset=begin)
            self._found[name] = StoredTensor(name, kind, values)


def weight_files(directory: Path) -> list[Path]:
    """`model.safetensors` of a directory, or the shards that its index names, all inside it.

    Raises
    ------
    FileError, FormatError
        The index is missing, or is none; a name in it leads out of the directory.
    """
    whole = directory / "model.safetensors"
    if whole.is_file():
        return [whole]
    index = directory / "model.safetensors.index.json"
    record = read_json_object(index)
    with damage_named(index):
        shards = record["weight_map"].values()
        return [inner_path(directory, name, index) for name in sorted(set(shards), key=str)]


def read_config(directory: Path) -> dict[str, Any]:
    """config.json of a directory.

    Raises
    ------
    FileError, FormatError
        It is missing, or no JSON object.
    """
    return read_json_object(directory / "config.json")
