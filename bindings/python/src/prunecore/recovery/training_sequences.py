# SPDX-License-Identifier: Apache-2.0
"""Which sequences of data a training learns from: those held out, and the order of the others.

The rules are those of the library's own training, so that the same seed draws the same sequences.
"""

from __future__ import annotations

import numpy as np

from prunecore.data.data import Data
from prunecore.errors import DataError
from prunecore.recovery.random_source import RandomSource

HELD_OUT_SHARE = 0.1
_SPLIT_STREAM = 0
_FIRST_EPOCH_STREAM = 1 << 32


def predicting(data: Data) -> list[int]:
    """Sequences with a token to predict whose weight is not 0, ascending."""
    starts = np.concatenate([[0], np.cumsum([len(row) for row in data.sequences])])
    weights = data.token_weights
    return [
        index
        for index, row in enumerate(data.sequences)
        if len(row) > 1
        and (weights is None or (weights[starts[index] + 1 : starts[index + 1]] > 0).any())
    ]


def hold_out(data: Data, seed: int) -> tuple[Data, Data]:
    """A tenth of the sequences kept aside, drawn by seed: the others, and those.

    Raises
    ------
    DataError
        Fewer than two sequences have a token to predict.
    """
    own = predicting(data)
    if len(own) < 2:
        raise DataError(
            f"{len(own)} of the sequences have a token to predict: give two at least, so that one "
            "can be held out, or give held_out"
        )
    # Halves go up, as the library rounds.
    count = min(max(1, int(HELD_OUT_SHARE * len(own) + 0.5)), len(own) - 1)
    drawn = RandomSource(seed, _SPLIT_STREAM).permutation(len(own))[:count]
    aside = {own[index] for index in drawn}
    rest = [index for index in own if index not in aside]
    return data.select(rest), data.select(sorted(aside))


class SequenceOrder:
    """Epoch after epoch of sequences, each in an order of its own, drawn by seed.

    Parameters
    ----------
    sequences : list of int
        Those that say something: `predicting`. At least one.
    seed : int
    """

    def __init__(self, sequences: list[int], seed: int) -> None:
        self._sequences, self._seed = sequences, seed
        self._epoch, self._order = -1, list[int]()

    def batch(self, used: int, count: int) -> list[int]:
        """The sequences that come after `used` others: `count` of them, at most all once."""
        return [self._entry(used + own) for own in range(min(count, len(self._sequences)))]

    def _entry(self, used: int) -> int:
        epoch, place = divmod(used, len(self._sequences))
        if epoch != self._epoch:
            random = RandomSource(self._seed, _FIRST_EPOCH_STREAM + epoch)
            self._epoch, self._order = epoch, random.permutation(len(self._sequences))
        return self._sequences[self._order[place]]
