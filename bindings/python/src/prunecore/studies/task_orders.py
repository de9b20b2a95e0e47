# SPDX-License-Identifier: Apache-2.0
"""Ranks, their correlation, and which compromises between tasks are worth having: plain maths."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from prunecore.errors import ArgumentError

Values = npt.NDArray[np.float64]

COMBINATIONS = ("rank", "importance")
MOST_STEPS = 20
MOST_POINTS = 100


def average_ranks(values: npt.ArrayLike) -> Values:
    """Ranks from 0 for the lowest; equal values get the mean of the ranks they take up.

    Parameters
    ----------
    values : array of float, shape (n,)
    """
    row = np.asarray(values, dtype=np.float64)
    _, places, counts = np.unique(row, return_inverse=True, return_counts=True)
    after = np.cumsum(counts)
    found: Values = (after - (counts + 1) / 2)[places]
    return found


def spearman(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Spearman's rank correlation, ties averaged; NaN where all values of one are equal.

    Parameters
    ----------
    first, second : array of float, shape (n,)
    """
    one, two = (ranks - ranks.mean() for ranks in map(average_ranks, (first, second)))
    spread = math.sqrt(float(one @ one) * float(two @ two))
    return float(one @ two) / spread if spread > 0 else math.nan


def spearman_matrix(rows: Values) -> Values:
    """Spearman's correlation of every pair of rows; exactly 1 on the diagonal, symmetric.

    Parameters
    ----------
    rows : array of float, shape (n_tasks, n_units)
    """
    matrix = np.eye(len(rows))
    for one, two in combinations(range(len(rows)), 2):
        matrix[one, two] = matrix[two, one] = spearman(rows[one], rows[two])
    return matrix


def simplex_grid(n_tasks: int, steps: int | None = None) -> Values:
    """Weights of the tasks: all multiples of 1 / steps that add up to 1.

    Parameters
    ----------
    n_tasks : int
        At least 1.
    steps : int, optional
        Default: as many as give 100 weightings at most, 20 at most and one at least; then only
        each task alone.

    Returns
    -------
    array of float, shape (n_weightings, n_tasks)
        From all weight on the first task to all on the last one.
    """
    if steps is None:
        possible = range(1, MOST_STEPS + 1)
        fitting = [s for s in possible if math.comb(s + n_tasks - 1, s) <= MOST_POINTS]
        steps = max(fitting, default=1)
    if steps < 1:
        raise ArgumentError(f"steps is {steps}, but must be at least 1")
    total = steps + n_tasks - 1
    rows = []
    for bars in combinations(range(total), n_tasks - 1):
        edges = (-1, *bars, total)
        rows.append([after - before - 1 for before, after in pairwise(edges)])
    return np.array(rows[::-1], dtype=np.float64) / steps


def comparable(importance: npt.ArrayLike, combine: str) -> Values:
    """Importances of one task in a unit that tasks share, so that they can be added up.

    Parameters
    ----------
    importance : array of float, shape (n_units,)
    combine : {"rank", "importance"}
        Ranks over n_units - 1, so that they run from 0 to 1; or importances over the mean of their
        absolute values.
    """
    row = np.asarray(importance, dtype=np.float64)
    if combine == "rank":
        return average_ranks(row) / max(len(row) - 1, 1)
    if combine == "importance":
        scale = float(np.mean(np.abs(row)))
        return row / scale if scale > 0 else row
    raise ArgumentError(f"combine is '{combine}', but must be {' or '.join(COMBINATIONS)}")


def non_dominated(points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which points no other point beats: is as low in every column, and lower in one.

    Points that are equal do not beat each other.

    Parameters
    ----------
    points : array of float, shape (n_points, n_tasks)

    Returns
    -------
    array of bool, shape (n_points,)
    """
    table = np.asarray(points, dtype=np.float64)
    front = np.empty(len(table), dtype=bool)
    for index, point in enumerate(table):
        beats = np.all(table <= point, axis=1) & np.any(table < point, axis=1)
        front[index] = not beats.any()
    return front
