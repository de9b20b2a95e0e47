# SPDX-License-Identifier: Apache-2.0
"""A tensor of a GGUF file before it is written: where its rows come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gguf
import numpy as np
import numpy.typing as npt

from prunecore.tensors.stored import Floats, StoredTensor

Rows = Callable[[slice], Floats]
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
    """

    name: str
    shape: tuple[int, ...]
    type: gguf.GGMLQuantizationType
    rows: Rows

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

    stored: StoredTensor
    which: Indices
    factor: float = 1.0

    def rows(self, begin: int, end: int) -> Floats:
        """Some of these rows."""
        found = self.stored.rows(self.which[begin:end])
        return found if self.factor == 1 else found * np.float32(self.factor)


def stacked(parts: Sequence[Part]) -> Rows:
    """The rows of all parts, one after the other."""
    ends = np.cumsum([len(part.which) for part in parts])

    def rows(which: slice) -> Floats:
        begin, end, _ = which.indices(int(ends[-1]))
        found = []
        for part, last in zip(parts, ends.tolist(), strict=True):
            first = last - len(part.which)
            if first < end and begin < last:
                found.append(part.rows(max(begin, first) - first, min(end, last) - first))
        return found[0] if len(found) == 1 else np.concatenate(found)

    return rows


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
