# SPDX-License-Identifier: Apache-2.0
"""Zigzag persistence of nearest-neighbour graphs over layers (arXiv 2410.11042).

The complexes are those of the package gudhi, the barcode is that of dionysus: `pip install
prunecore[topology]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore.errors import ArgumentError, LoadError
from prunecore.importance.persistence import Bars

Simplex = tuple[int, ...]
Complex = frozenset[Simplex]
"""Simplices as ascending numbers of their points, all faces among them."""

ROWS = 256
"""Rows of distances that are held at once."""
STEPS = 4096
"""Insertions and removals between two calls of `step`."""


def packages() -> tuple[Any, Any]:
    """The packages gudhi and dionysus.

    Raises
    ------
    LoadError
        One is not installed; the text says how to install it.
    """
    try:
        return import_module("gudhi"), import_module("dionysus")
    except ImportError as error:
        raise LoadError(
            "topology is computed with the packages gudhi and dionysus: "
            "pip install 'prunecore[topology]'"
        ) from error


def neighbour_edges(points: npt.ArrayLike, neighbours: int) -> set[tuple[int, int]]:
    """Edges from each point to its nearest others by Euclidean distance, directions left out.

    Of points at the same distance, those with the lower numbers are nearer.

    Parameters
    ----------
    points : array of float, shape (n, width)
    neighbours : int
        Of each point: 1 .. n - 1.

    Returns
    -------
    set of (int, int)
        The lower number first.
    """
    # Around their mean, so that what all have in common takes no digits from the distances.
    rows = np.asarray(points, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    if not 1 <= neighbours < len(rows):
        raise ArgumentError(
            f"{len(rows)} points have no {neighbours} neighbours each: the number of neighbours "
            "must be from 1 to one less than that of the points"
        )
    squares = np.einsum("ij,ij->i", rows, rows)
    edges: set[tuple[int, int]] = set()
    for first in range(0, len(rows), ROWS):
        own = np.arange(first, min(first + ROWS, len(rows)))
        distances = squares - 2 * rows[own] @ rows.T  # plus what is the same for all of a row
        distances[np.arange(len(own)), own] = np.inf
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :neighbours]
        pairs = np.stack([np.repeat(own, neighbours), nearest.reshape(-1)], axis=1)
        edges.update((one, two) for one, two in np.sort(pairs, axis=1).tolist())
    return edges


def clique_complex(n_points: int, edges: set[tuple[int, int]], dimension: int) -> Complex:
    """All cliques of a graph with at most dimension + 1 points.

    Raises
    ------
    LoadError
        gudhi or dionysus is not installed.
    """
    gudhi, _ = packages()
    tree = gudhi.SimplexTree()
    for point in range(n_points):
        tree.insert([point])
    for edge in edges:
        tree.insert(list(edge))
    tree.expansion(dimension)
    return frozenset(tuple(simplex) for simplex, _ in tree.get_skeleton(dimension))


def zigzag_bars(
    layers: Sequence[Complex],
    homology: int,
    step: Callable[[int, int], object] | None = None,
) -> Bars:
    """The barcode of the zigzag over some complexes and the intersections of neighbours.

    Parameters
    ----------
    layers : sequence of Complex
        L of them, with all simplices of a dimension up to homology + 1. Larger ones are allowed,
        and change nothing.
    homology : int
        Dimension of the cycles: 1 for loops.
    step : callable, optional
        Called as `step(done, total)` now and then; what it raises ends the call.

    Returns
    -------
    array of int, shape (n, 2)
        Birth and death of each cycle as indices 0 .. 2 L - 1 of the zigzag, sorted; 2 L - 1 is the
        death of those that outlive it. Coefficients are those of Z / 2.

    Raises
    ------
    LoadError
        gudhi or dionysus is not installed.
    """
    _, dionysus = packages()
    simplices = sorted(frozenset().union(*layers), key=lambda each: (len(each), each))
    times = [_times([simplex in layer for layer in layers]) for simplex in simplices]
    total = sum(map(len, times))
    done = 0

    def count(*_state: Any) -> None:
        nonlocal done
        done += 1
        if step is not None and (done % STEPS == 0 or done == total):
            step(done, total)

    filtration = dionysus.Filtration([list(simplex) for simplex in simplices])
    _, diagrams, _ = dionysus.zigzag_homology_persistence(filtration, times, callback=count)
    end = 2 * len(layers) - 1
    bars = [
        (int(bar.birth), int(min(bar.death, end)))
        for bar in (diagrams[homology] if homology < len(diagrams) else ())
        if bar.birth < bar.death
    ]
    return np.array(sorted(bars), dtype=np.int64).reshape(-1, 2)


def _times(present: Sequence[bool]) -> list[int]:
    """When a simplex enters and leaves the zigzag, by turns, from the layers that have it."""
    times = []
    before = False
    for layer, is_here in enumerate(present):
        if is_here != before:
            # It enters with a layer, and leaves with the intersection after its last one.
            times.append(2 * layer if is_here else 2 * layer - 1)
        before = is_here
    return times
