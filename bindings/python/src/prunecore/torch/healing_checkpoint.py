# SPDX-License-Identifier: Apache-2.0
"""A healing on disk: the numbers that it moves, and where it stands."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from prunecore._native.run_file import RunFile
from prunecore.errors import FormatError, OutOfMemoryError

_DIGEST_BYTES = 32
_TYPES: dict[torch.dtype, npt.DTypeLike] = {torch.float32: "<f4", torch.float64: "<f8"}


class HealingCheckpoint:
    """A file that is written anew whenever a healing says where it stands.

    After the line of a `RunFile` come a line of JSON, the numbers of some tensors, and the SHA-256
    of both. To read it takes memory for the whole file, beside the tensors.

    Parameters
    ----------
    path : path
    run : mapping
        What the numbers depend on: see `RunFile`.
    """

    def __init__(self, path: str | os.PathLike[str], run: Mapping[str, Any]) -> None:
        self._file = RunFile(path, run)

    def save(self, record: Mapping[str, Any], tensors: Sequence[Tensor]) -> None:
        """Writes JSON values and tensors, in place of what the file held.

        Raises
        ------
        FileError
            It cannot be written; the file is as it was.
        """
        line = json.dumps(record).encode() + b"\n"
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        self._file.save_parts(len(line) + size + _DIGEST_BYTES, _parts(line, tensors))

    def load(self, tensors: Sequence[Tensor]) -> dict[str, Any] | None:
        """The JSON values; tensors are given the numbers. None = there is no file.

        Raises
        ------
        ArgumentError, FileError, FormatError, UnsupportedError
            As `RunFile.load`; tensors are then as they were.
        """
        try:
            saved = self._file.load()
        except MemoryError as error:
            raise OutOfMemoryError(
                f"there is no memory to read the checkpoint {self._file.path}"
            ) from error
        if saved is None:
            return None
        view = memoryview(saved)
        end = len(view) - _DIGEST_BYTES
        place = saved.find(b"\n") + 1
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        whole = place > 0 and end == place + size
        if not whole or hashlib.sha256(view[:end]).digest() != view[end:]:
            raise FormatError(f"the checkpoint {self._file.path} is damaged")
        try:
            record = json.loads(saved[:place])
        except ValueError as error:
            raise FormatError(f"the checkpoint {self._file.path} is damaged") from error
        for tensor in tensors:
            values = np.frombuffer(saved, _TYPES[tensor.dtype], tensor.numel(), place)
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(values.copy()).reshape(tensor.shape))
            place += values.nbytes
        return dict(record)

    def damaged(self, error: Exception) -> FormatError:
        """What is raised where the JSON values are not those of a healing."""
        return FormatError(f"the checkpoint {self._file.path} is damaged: {error!r}")


def weights_digest(module: nn.Module) -> str:
    """SHA-256 (hex) over all parameters: their names, types and numbers."""
    digest = hashlib.sha256()
    for name, parameter in module.named_parameters():
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
        digest.update(_bytes(parameter))
    return digest.hexdigest()


def _parts(line: bytes, tensors: Sequence[Tensor]) -> Iterator[bytes | memoryview]:
    digest = hashlib.sha256(line)
    yield line
    for tensor in tensors:
        part = _bytes(tensor)
        digest.update(part)
        yield part
    yield digest.digest()


def _bytes(tensor: Tensor) -> memoryview:
    found = tensor.detach().cpu().contiguous().reshape(-1)
    return found.view(torch.uint8).numpy().data
