# SPDX-License-Identifier: Apache-2.0
"""Writes a GGUF file: beside its place, a part of a tensor at a time, and then renamed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np

from prunecore._native.progress import ProgressFunction
from prunecore._native.whole_file import whole_file
from prunecore.errors import Cancelled
from prunecore.export.gguf.metadata import TENSORS_SHA256
from prunecore.export.gguf.number_types import encode, row_bytes
from prunecore.export.gguf.planned import PlannedTensor

if TYPE_CHECKING:
    from hashlib import _Hash

CHUNK_BYTES = 32 << 20  # of float32 in memory at once
_STRING_HEADER = 12  # after a key stand its type (4 bytes) and the length of the string (8)
_PLAIN = np.dtype(np.float32)  # of no consequence: the tensor's own type is given beside it


class Steps:
    """Tells a progress function of tensors that were written."""

    def __init__(self, total: int, progress: ProgressFunction | None) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self._began = time.monotonic()

    def one(self) -> None:
        """One more is written. Raises `Cancelled` if the function wants to stop."""
        self._done += 1
        seconds = time.monotonic() - self._began
        if self._progress and self._progress("export", self._done, self._total, seconds):
            raise Cancelled("the export was cancelled")


def write_file(
    target: Path, writer: gguf.GGUFWriter, tensors: Sequence[PlannedTensor], steps: Steps
) -> str:
    """Writes the file and returns the checksum (SHA-256, hex) of its tensors.

    The checksum is a key of the file, too, and stands before them: its place is filled in last.

    Raises
    ------
    FileError
        The file cannot be written; what was there before is there still.
    Cancelled
        The progress function wants to stop.
    """
    for tensor in tensors:
        size = tensor.n_rows * row_bytes(tensor.shape, tensor.type)
        writer.add_tensor_info(tensor.name, tensor.shape, _PLAIN, size, tensor.type)
    with whole_file(target) as file:
        try:
            # It opens the file once more, by its name.
            writer.write_header_to_file(Path(file.name))
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
        finally:
            writer.close()
        header = file.read()
        place = header.rindex(TENSORS_SHA256.encode()) + len(TENSORS_SHA256)
        digest = hashlib.sha256()
        for part in _parts(len(header), tensors, writer.data_alignment, digest, steps):
            file.write(part)
        file.seek(place + _STRING_HEADER)
        file.write(digest.hexdigest().encode())
    return digest.hexdigest()


def _parts(
    position: int,
    tensors: Sequence[PlannedTensor],
    alignment: int,
    digest: _Hash,
    steps: Steps,
) -> Iterator[bytes]:
    """What follows the header: padding, and the tensors, each padded. The digest is over these."""
    yield bytes(-position % alignment)
    for tensor in tensors:
        step = max(1, CHUNK_BYTES // (4 * tensor.width))
        written = 0
        for begin in range(0, tensor.n_rows, step):
            which = slice(begin, min(begin + step, tensor.n_rows))
            if tensor.stored_rows is not None:
                part = tensor.stored_rows(which)
            else:
                part = encode(tensor.name, tensor.rows(which), tensor.type)
            written += len(part)
            digest.update(part)
            yield part
        padding = bytes(-written % alignment)
        digest.update(padding)
        yield padding
        steps.one()
