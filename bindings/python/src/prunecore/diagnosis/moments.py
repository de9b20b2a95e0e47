# SPDX-License-Identifier: Apache-2.0
"""Variances of rows that come in parts."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class Variance:
    """The variance of all values of some rows, and that within each row.

    Parts are merged by their means and sums of squared deviations (Chan, Golub and LeVeque 1983),
    so that a mean far from zero costs no digits.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._within: list[npt.NDArray[np.float64]] = []

    def add(self, rows: Rows) -> None:
        """Adds rows, one per token, of shape (n_tokens, hidden_size)."""
        values = rows.astype(np.float64)
        count, mean = values.size, float(values.mean())
        own = values.mean(axis=1)
        values -= own[:, None]
        within = np.einsum("td,td->t", values, values)
        squares = float(within.sum() + values.shape[1] * np.square(own - mean).sum())
        self._within.append(within / values.shape[1])
        both = self._count + count
        apart = mean - self._mean
        self._squares += squares + apart * apart * self._count * count / both
        self._mean += apart * count / both
        self._count = both

    @property
    def of_all(self) -> float:
        """Over all tokens and channels; NaN if there are none."""
        return self._squares / self._count if self._count else math.nan

    @property
    def of_one_token(self) -> float:
        """Over the channels of one token: the median of the tokens."""
        return float(np.median(np.concatenate(self._within))) if self._within else math.nan
