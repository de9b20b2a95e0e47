# SPDX-License-Identifier: Apache-2.0
"""A tensor of a GGUF file before it is written: where its rows come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import gguf
import numpy as np
import numpy.typing as npt

from prunecore.export.gguf.source import BlockTensor
from prunecore.tensors.stored import Floats, StoredTensor

Rows = Callable[[slice], Floats]
StoredRows = Callable[[slice], bytes]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor to write.

    Attributes
    ----------
    name : str
        In the GGUF file.
    shape : tuple of int
        Rows first, as NumPy has it; the file lists it the other way round.
    type : gguf.GGMLQuantizationType
        Of its numbers in the file.
    rows : callable
        Given a slice of the rows (of a vector: entries; of several matrices: the rows of all, one
        after the other), their values in float32.
    stored_rows : callable, optional
        The same as bytes that the file holds as they are: rows of a file of the same type.
    """

    name: str
    shape: tuple[int, ...]
    type: gguf.GGMLQuantizationType
    rows: Rows
    stored_rows: StoredRows | None = None

    @property
    def n_rows(self) -> int:
        """Rows of all matrices, or entries."""
        return self.shape[0] if len(self.shape) == 1 else math.prod(self.shape[:-1])

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return 1 if len(self.shape) == 1 else self.shape[-1]


@dataclass(frozen=True)
class Part:
    """Some rows of a stored matrix, in some order, times a factor."""

    stored: StoredTensor | BlockTensor
    which: Indices
    factor: float = 1.0

    def rows(self, begin: int, end: int) -> Floats:
        """Some of these rows."""
        found = self.stored.rows(self.which[begin:end])
        return found if self.factor == 1 else found * np.float32(self.factor)

    def stored_rows(self, begin: int, end: int) -> bytes:
        """Some of these rows as a GGUF file holds them."""
        assert isinstance(self.stored, BlockTensor)
        return self.stored.stored_rows(self.which[begin:end])


def stacked(parts: Sequence[Part]) -> Rows:
    """The rows of all parts, one after the other."""

    def rows(which: slice) -> Floats:
        found = [part.rows(begin, end) for part, begin, end in _chosen(parts, which)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    return rows


def stacked_bytes(parts: Sequence[Part], kind: gguf.GGMLQuantizationType) -> StoredRows | None:
    """The same as bytes; None where rows are not stored in this type, or not copied as they are."""
    if not all(
        isinstance(part.stored, BlockTensor) and part.stored.kind is kind and part.factor == 1
        for part in parts
    ):
        return None
    return lambda which: b"".join(
        part.stored_rows(begin, end) for part, begin, end in _chosen(parts, which)
    )


def _chosen(parts: Sequence[Part], which: slice) -> Iterator[tuple[Part, int, int]]:
    """The parts that a slice of the rows of all meets, and which of their rows."""
    ends = np.cumsum([len(part.which) for part in parts])
    begin, end, _ = which.indices(int(ends[-1]))
    for part, last in zip(parts, ends.tolist(), strict=True):
        first = last - len(part.which)
        if first < end and begin < last:
            yield part, max(begin, first) - first, min(end, last) - first


def vector(name: str, values: npt.ArrayLike) -> PlannedTensor:
    """Numbers that are in memory: float32, as llama.cpp wants norms and biases."""
    numbers = np.asarray(values, dtype=np.float32)
    flat = numbers if numbers.ndim == 1 else numbers.reshape(-1, numbers.shape[-1])
    return PlannedTensor(
        name=name,
        shape=numbers.shape,
        type=gguf.GGMLQuantizationType.F32,
        rows=lambda rows: flat[rows],
    )


def zeros(name: str, shape: tuple[int, int], kind: gguf.GGMLQuantizationType) -> PlannedTensor:
    """A matrix of zeros."""

    def rows(which: slice) -> Floats:
        return np.zeros((len(range(shape[0])[which]), shape[1]), dtype=np.float32)

    return PlannedTensor(name=name, shape=shape, type=kind, rows=rows)
