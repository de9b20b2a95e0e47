# SPDX-License-Identifier: Apache-2.0
"""Persistence similarity, Betti numbers and the cut, by hand from a small barcode."""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
from prunecore.importance.persistence import (
    cut_layers,
    layer_bars,
    mean_similarity,
    persistence_similarity,
)

# Three layers: the zigzag has indices 0 (layer 0), 1, 2 (layer 1), 3, 4 (layer 2), and ends at 5.
BARS = [
    (0, 5),  # all layers
    (0, 1),  # layer 0
    (0, 1),  # layer 0
    (1, 2),  # in the intersection of layers 0 and 1, and in no layer
    (1, 4),  # layer 1, and both its intersections
    (3, 5),  # layer 2
    (0, 3),  # layers 0 and 1
]


def test_bars_of_layers_leave_out_what_lives_between_them() -> None:
    found = layer_bars(BARS).tolist()
    assert found == [[0, 3], [0, 1], [0, 1], [1, 2], [2, 3], [0, 2]]
    assert layer_bars(np.empty((0, 2), dtype=int)).shape == (0, 2)


def test_similarity_counts_cycles_that_two_layers_and_all_between_share() -> None:
    similarity = persistence_similarity(BARS, 3)
    assert similarity.tolist() == [[4, 2, 1], [2, 3, 1], [1, 1, 2]]


def test_mean_similarity_is_the_mean_share_of_each_layers_cycles() -> None:
    wanted = [
        (4 / 4 + 2 / 3 + 1 / 2) / 3,
        (2 / 4 + 3 / 3 + 1 / 2) / 3,
        (1 / 4 + 1 / 3 + 2 / 2) / 3,
    ]
    found = mean_similarity(persistence_similarity(BARS, 3))
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


def test_rule_cuts_layers_near_the_largest_mean_similarity() -> None:
    mean = mean_similarity(persistence_similarity(BARS, 3))  # .7222, .6667, .5278
    assert cut_layers(mean, 1).tolist() == [True, False, False]
    assert cut_layers(mean, 0.95).tolist() == [True, False, False]
    assert cut_layers(mean, 0.9).tolist() == [True, True, False]
    assert cut_layers(mean, 0.73).tolist() == [True, True, True]


def test_layers_without_cycles_share_none() -> None:
    similarity = persistence_similarity([(0, 1), (4, 5)], 3)
    assert similarity.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(mean_similarity(similarity), [1 / 3, 0, 1 / 3])
    nothing = mean_similarity(persistence_similarity([], 2))
    assert nothing.tolist() == [0, 0]
    with pytest.raises(pc.ArgumentError, match="no layer shares a cycle"):
        cut_layers(nothing, 0.9)


def test_similarity_is_that_of_a_plain_loop_over_bars() -> None:
    draw = np.random.default_rng(3)
    n_layers = 7
    births = draw.integers(0, 2 * n_layers - 1, 400)
    bars = np.stack([births, draw.integers(births + 1, 2 * n_layers)], axis=1)
    wanted = np.zeros((n_layers, n_layers), dtype=int)
    for birth, death in bars:
        alive = [layer for layer in range(n_layers) if birth <= 2 * layer < death]
        for one in alive:
            for two in alive:
                wanted[one, two] += 1
    np.testing.assert_array_equal(persistence_similarity(bars, n_layers), wanted)


@pytest.mark.parametrize("bar", [(-1, 2), (0, 6), (3, 3), (4, 2)])
def test_bars_outside_the_zigzag_are_refused(bar: tuple[int, int]) -> None:
    with pytest.raises(pc.ArgumentError, match="not within the zigzag of 3 layers: 0 to 5"):
        persistence_similarity([*BARS, bar], 3)


@pytest.mark.parametrize("ratio", [0, -0.5, 1.01, float("nan")])
def test_ratios_out_of_range_are_refused(ratio: float) -> None:
    with pytest.raises(pc.ArgumentError, match="above 0 and at most 1"):
        cut_layers([0.5, 0.25], ratio)
