# SPDX-License-Identifier: Apache-2.0
"""Sequences that a training computes together, and which of their tokens count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prunecore.data.data import Data
from prunecore.hosts.host import Ids, Rows, Values


@dataclass(frozen=True)
class TrainingBatch:
    """Some sequences, and the tokens of them whose prediction counts.

    Attributes
    ----------
    indices : list of int
        Of the sequences in the data.
    sequences : list of array of int32
        Their tokens.
    rows : array of int64, shape (n,)
        Tokens that predict one, as rows of all sequences one after the other.
    targets : array of int64, shape (n,)
        The tokens that follow them.
    weights : array of float32, shape (n,)
        How much each counts, above 0.
    """

    indices: list[int]
    sequences: list[Ids]
    rows: Rows
    targets: npt.NDArray[np.int64]
    weights: Values

    @property
    def weight(self) -> float:
        """Sum of the weights."""
        return float(self.weights.sum(dtype=np.float64))


class TrainingData:
    """Data, as batches of chosen sequences.

    Parameters
    ----------
    data : Data
    most_tokens : int
        Tokens that are computed together at most; a longer sequence is a batch of its own.
    """

    def __init__(self, data: Data, most_tokens: int) -> None:
        self._sequences, self._weights = data.sequences, data.token_weights
        self._most = most_tokens
        self._starts = np.concatenate([[0], np.cumsum([len(row) for row in self._sequences])])

    def tokens(self, indices: Iterable[int]) -> int:
        """Tokens of some sequences."""
        return sum(len(self._sequences[index]) for index in indices)

    def batches(self, indices: Iterable[int]) -> Iterator[TrainingBatch]:
        """Batches of these sequences, in their order."""
        taken: list[int] = []
        for index in indices:
            if taken and self.tokens([*taken, index]) > self._most:
                yield self._batch(taken)
                taken = []
            taken.append(index)
        if taken:
            yield self._batch(taken)

    def _batch(self, indices: list[int]) -> TrainingBatch:
        sequences = [self._sequences[index] for index in indices]
        rows, targets, weights = [], [], []
        before = 0
        for index, sequence in zip(indices, sequences, strict=True):
            own = self._weights_of(index)
            predicting = np.flatnonzero(own[1:] > 0)
            rows.append(before + predicting)
            targets.append(sequence[1:][predicting].astype(np.int64))
            weights.append(own[1:][predicting])
            before += len(sequence)
        return TrainingBatch(
            indices,
            sequences,
            np.concatenate(rows),
            np.concatenate(targets),
            np.concatenate(weights),
        )

    def _weights_of(self, index: int) -> Values:
        span = slice(self._starts[index], self._starts[index + 1])
        if self._weights is None:
            return np.ones(span.stop - span.start, dtype=np.float32)
        return self._weights[span]
