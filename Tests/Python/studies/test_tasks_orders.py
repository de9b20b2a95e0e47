# SPDX-License-Identifier: Apache-2.0
"""Ranks, correlations, weightings and fronts: plain maths."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import prunecore as pc
import pytest
from prunecore.studies.task_orders import (
    average_ranks,
    comparable,
    non_dominated,
    simplex_grid,
    spearman,
    spearman_matrix,
)


def test_ranks_are_averaged_over_ties() -> None:
    assert average_ranks([3.0, 1.0, 3.0, 2.0]).tolist() == [2.5, 0, 2.5, 1]
    assert average_ranks([7.0, 7.0, 7.0]).tolist() == [1, 1, 1]


def test_spearman_by_hand() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 30, 4000]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [8, 6, 4, 2]) == pytest.approx(-1)
    # 1 - 6 * (1 + 1 + 1 + 1) / (4 * 15)
    assert spearman([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)
    # Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: covariance 4.5, variances 4.5 and 5.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_matrix_is_symmetric_with_ones() -> None:
    rows = np.random.default_rng(0).random((4, 9))
    matrix = spearman_matrix(rows)
    assert np.array_equal(matrix, matrix.T) and np.array_equal(np.diag(matrix), np.ones(4))
    assert matrix[1, 3] == pytest.approx(spearman(rows[1], rows[3]))
    assert np.all(np.abs(matrix) <= 1)


@pytest.mark.parametrize(("tasks", "steps"), [(1, 3), (2, 4), (3, 5), (4, 2)])
def test_grid_holds_every_weighting_once(tasks: int, steps: int) -> None:
    found = {tuple(np.rint(row * steps).astype(int)) for row in simplex_grid(tasks, steps)}
    wanted = {row for row in product(range(steps + 1), repeat=tasks) if sum(row) == steps}
    assert found == wanted and len(simplex_grid(tasks, steps)) == len(wanted)


def test_grid_runs_from_the_first_task_to_the_last() -> None:
    grid = simplex_grid(3, 2)
    assert grid[0].tolist() == [1, 0, 0] and grid[-1].tolist() == [0, 0, 1]
    assert len(simplex_grid(2)) == 21 and len(simplex_grid(3)) == 91
    assert simplex_grid(150).tolist() == np.eye(150).tolist()
    with pytest.raises(pc.ArgumentError, match="steps is 0"):
        simplex_grid(2, 0)


def test_importances_in_a_shared_unit() -> None:
    assert comparable([5.0, -1.0, 9.0], "rank").tolist() == [0.5, 0, 1]
    assert comparable([5.0, -1.0, 9.0], "importance").tolist() == [1, -0.2, 1.8]
    assert comparable([0.0, 0.0], "importance").tolist() == [0, 0]
    assert comparable([4.0], "rank").tolist() == [0]
    with pytest.raises(pc.ArgumentError, match="combine is 'sum'"):
        comparable([1.0], "sum")


def test_front_by_brute_force() -> None:
    rng = np.random.default_rng(1)
    for tasks in (1, 2, 3):
        points = rng.integers(0, 5, (40, tasks)).astype(float)  # with ties and equal points
        wanted = [
            not any(
                all(a <= b for a, b in zip(other, point, strict=True))
                and any(a < b for a, b in zip(other, point, strict=True))
                for other in points
            )
            for point in points
        ]
        assert non_dominated(points).tolist() == wanted
        assert 0 < sum(wanted) < 40
    assert non_dominated([[1, 2], [1, 2], [1, 3]]).tolist() == [True, True, False]
