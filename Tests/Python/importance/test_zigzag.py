# SPDX-License-Identifier: Apache-2.0
"""Zigzags over small graphs: barcodes known by sight, and ranks of boundaries over Z / 2."""

from __future__ import annotations

import sys

import numpy as np
import prunecore as pc
import pytest
from prunecore.importance.persistence import persistence_similarity
from prunecore.importance.zigzag import Complex, clique_complex, neighbour_edges, zigzag_bars

REASON = "gudhi or dionysus is not installed: pip install gudhi dionysus==2.1.1"
SQUARE = {(0, 1), (1, 2), (2, 3), (0, 3)}


def bars_of(*graphs: set[tuple[int, int]], points: int = 4) -> list[list[int]]:
    pytest.importorskip("gudhi", reason=REASON)
    pytest.importorskip("dionysus", reason=REASON)
    return zigzag_bars([clique_complex(points, edges, 2) for edges in graphs], 1).tolist()


def test_a_loop_of_all_layers_lives_to_the_end() -> None:
    assert bars_of(SQUARE, SQUARE, SQUARE) == [[0, 5]]


def test_a_loop_that_is_filled_dies_with_the_layer_and_is_born_again_after_it() -> None:
    # The diagonal makes two triangles of the square; the intersections lack it.
    assert bars_of(SQUARE, SQUARE | {(0, 2)}, SQUARE) == [[0, 2], [3, 5]]


def test_a_loop_that_is_opened_dies_in_the_intersection() -> None:
    assert bars_of(SQUARE, SQUARE - {(1, 2)}, SQUARE) == [[0, 1], [4, 5]]


def test_loops_without_an_edge_in_common_are_two() -> None:
    other = {(0, 2), (1, 3), (0, 1), (2, 3)}  # another square through the same points
    assert bars_of(SQUARE, other) == [[0, 1], [2, 3]]
    assert bars_of({(0, 1)}, {(0, 1)}) == []


def test_neighbours_are_those_of_a_plain_search() -> None:
    points = np.random.default_rng(5).normal(size=(70, 3)) + 100
    wanted = set()
    for one, point in enumerate(points):
        order = sorted((float(np.linalg.norm(point - p)), two) for two, p in enumerate(points))
        near = [two for _, two in order if two != one][:4]
        wanted |= {(min(one, two), max(one, two)) for two in near}
    assert neighbour_edges(points, 4) == wanted


def test_of_points_at_one_distance_the_lower_number_is_nearer() -> None:
    assert neighbour_edges([[0.0], [1.0], [2.0], [3.0]], 1) == {(0, 1), (1, 2), (2, 3)}


@pytest.mark.parametrize("neighbours", [0, 3])
def test_numbers_of_neighbours_out_of_range_are_refused(neighbours: int) -> None:
    with pytest.raises(pc.ArgumentError, match="3 points have no"):
        neighbour_edges(np.eye(3), neighbours)


def test_barcodes_have_the_ranks_of_the_boundaries() -> None:
    layers = random_layers(2)
    similarity = persistence_similarity(zigzag_bars(layers, 1), len(layers))
    for layer, complex_ in enumerate(layers):
        edges = [s for s in complex_ if len(s) == 2]
        cycles = len(edges) - rank(boundary(complex_, 2))
        assert similarity[layer, layer] == cycles - rank(boundary(complex_, 3)) > 0
    for layer, pair in enumerate(zip(layers, layers[1:], strict=False)):
        assert similarity[layer, layer + 1] == shared_cycles(*pair) > 0


def test_larger_cliques_do_not_change_the_loops() -> None:
    small, large = random_layers(2), random_layers(4)
    assert any(len(simplex) == 4 for layer in large for simplex in layer)
    np.testing.assert_array_equal(zigzag_bars(small, 1), zigzag_bars(large, 1))


def test_progress_of_a_zigzag_ends_with_all_its_steps_and_can_stop_it() -> None:
    layers = random_layers(2)
    seen: list[tuple[int, int]] = []
    zigzag_bars(layers, 1, lambda *step: seen.append(step))
    assert seen and seen[-1][0] == seen[-1][1]

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zigzag_bars(layers, 1, stop)


@pytest.mark.parametrize("package", ["gudhi", "dionysus"])
def test_a_missing_package_is_named_with_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for call in (lambda: clique_complex(4, SQUARE, 2), lambda: zigzag_bars([], 1)):
        with pytest.raises(pc.LoadError, match=r"pip install 'prunecore\[topology\]'"):
            call()


def random_layers(dimension: int) -> list[Complex]:
    """Neighbour graphs of points that move a little from layer to layer."""
    pytest.importorskip("gudhi", reason=REASON)
    pytest.importorskip("dionysus", reason=REASON)
    draw = np.random.default_rng(7)
    points = draw.normal(size=(40, 4))
    layers = []
    for _ in range(4):
        layers.append(clique_complex(40, neighbour_edges(points, 4), dimension))
        points = points + 0.25 * draw.normal(size=points.shape)
    return layers


def boundary(complex_: Complex, size: int) -> np.ndarray:
    """One row for each simplex of `size` points: which faces it has, over all faces."""
    faces = {face: at for at, face in enumerate(sorted(s for s in complex_ if len(s) == size - 1))}
    rows = sorted(s for s in complex_ if len(s) == size)
    table = np.zeros((len(rows), len(faces)), dtype=np.uint8)
    for row, simplex in enumerate(rows):
        for left_out in range(size):
            table[row, faces[simplex[:left_out] + simplex[left_out + 1 :]]] = 1
    return table


def rank(table: np.ndarray) -> int:
    return len(reduced(table))


def reduced(table: np.ndarray) -> np.ndarray:
    """Rows in echelon form over Z / 2, without those of zeros."""
    rows, done = table.copy() % 2, 0
    for column in range(rows.shape[1]):
        at = np.flatnonzero(rows[done:, column])
        if not len(at):
            continue
        rows[[done, done + at[0]]] = rows[[done + at[0], done]]
        others = np.flatnonzero(rows[:, column])
        others = others[others != done]
        rows[others] ^= rows[done]
        done += 1
    return rows[:done]


def shared_cycles(one: Complex, two: Complex) -> int:
    """Loops of both layers: cycles of the intersection, without those that either layer fills.

    Of the intervals over one <- both -> two, those over all three number dim Z(both) - dim(B + C),
    where B and C are the boundaries of each layer that lie in the intersection.
    """
    both = frozenset(one & two)
    edges = sorted(s for s in both if len(s) == 2)
    filled = []
    for layer in (one, two):
        columns = sorted(s for s in layer if len(s) == 2)
        outside = [at for at, edge in enumerate(columns) if edge not in both]
        inside = [columns.index(edge) for edge in edges]
        # With the other edges first, echelon rows without these come last.
        rows = reduced(boundary(layer, 3)[:, outside + inside])
        filled.append(rows[~rows[:, : len(outside)].any(axis=1)][:, len(outside) :])
    return len(edges) - rank(boundary(both, 2)) - rank(np.concatenate(filled))
