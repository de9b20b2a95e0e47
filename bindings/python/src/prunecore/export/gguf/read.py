# SPDX-License-Identifier: Apache-2.0
"""What an exported GGUF file says of itself, and whether it is whole."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf

from prunecore._native.json_files import damage_named
from prunecore._native.paths import as_path
from prunecore._native.reading import parse_json
from prunecore.errors import FormatError
from prunecore.export.gguf.graph import GELU
from prunecore.export.gguf.graphs import GRAPHS
from prunecore.export.gguf.metadata import TENSORS_SHA256
from prunecore.export.gguf.reader import open_file
from prunecore.masks.mask import Mask

_COARSENESS = {"F32": 0, "F16": 1, "BF16": 2, "Q8_0": 3}  # BF16 has fewer digits than F16


@dataclass(frozen=True)
class GGUFFile:
    """An exported file.

    Attributes
    ----------
    path : Path
        The file.
    architecture : str
        `general.architecture`.
    values : dict
        All keys that are not arrays, as Python values.
    mask : Mask or None
        What was removed; None if the file does not come from PruneCore.
    adapters_sha256 : str or None
        Digest of the adapters in it.
    tensors_sha256 : str or None
        The checksum that it states.
    coarsest_type : str
        Of the types of its matrices, that with the fewest digits: "F32", "F16", "BF16" or "Q8_0".
    """

    path: Path
    architecture: str
    values: dict[str, Any]
    mask: Mask | None
    adapters_sha256: str | None
    tensors_sha256: str | None
    coarsest_type: str

    @property
    def rounds_gelu(self) -> bool:
        """Whether llama.cpp computes gelu for it: on the CPU, from a table in float16."""
        return any(graph.activation == GELU for graph in GRAPHS if graph.name == self.architecture)

    def check(self) -> None:
        """Raises `FormatError` if its tensors are not those that were written."""
        reader = open_file(self.path)
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            file.seek(reader.data_offset)
            while part := file.read(1 << 24):
                digest.update(part)
        if self.tensors_sha256 is None:
            raise FormatError(f"{self.path} states no checksum: PruneCore did not write it")
        if digest.hexdigest() != self.tensors_sha256:
            raise FormatError(f"{self.path} is damaged: its tensors have another checksum")


def read_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Reads the keys of a GGUF file.

    Raises
    ------
    FileError
        It is missing or unreadable.
    FormatError
        It is not a GGUF file.
    """
    file = as_path(path)
    reader = open_file(file)
    with damage_named(file):
        return _described(file, reader)


def _described(file: Path, reader: gguf.GGUFReader) -> GGUFFile:
    values = {
        name: field.contents()
        for name, field in reader.fields.items()
        if field.types and field.types[0] is not gguf.GGUFValueType.ARRAY
    }
    mask = values.get("prunecore.mask")
    adapters = values.get("prunecore.adapters")
    return GGUFFile(
        path=file,
        architecture=str(values.get("general.architecture", "")),
        values=values,
        mask=None if mask is None else Mask.from_json(str(mask)),
        adapters_sha256=None if adapters is None else str(parse_json(str(adapters))["sha256"]),
        tensors_sha256=values.get(TENSORS_SHA256),
        coarsest_type=max(
            (tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1),
            key=lambda name: _COARSENESS.get(name, len(_COARSENESS)),
            default="F32",
        ),
    )
