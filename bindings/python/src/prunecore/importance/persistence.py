# SPDX-License-Identifier: Apache-2.0
"""What a barcode over layers says: cycles that layers share, and which layers are redundant.

Plain maths on the intervals of a zigzag; `importance.zigzag` computes them from hidden states.
Source of the formulas: arXiv 2410.11042.

A zigzag over L layers is the sequence K_0, K_0 & K_1, K_1, .., K_(L-1) of 2 L - 1 complexes: index
2 j is layer j, an odd index the complex that its two neighbours have in common.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from prunecore.errors import ArgumentError

Bars = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


def layer_bars(bars: npt.ArrayLike) -> Bars:
    """Bars in numbers of layers, without those that live in an intersection alone.

    Index i of the zigzag becomes i // 2 + i % 2: a cycle that is born in the intersection of layers
    j and j + 1, or dies there, does so between them, so that j + 1 is the first layer that has it,
    or has it no more.

    Parameters
    ----------
    bars : array of int, shape (n, 2)
        Birth and death in the zigzag; the cycle lives at birth, .., death - 1.

    Returns
    -------
    array of int, shape (at most n, 2)
        The first layer with the cycle, and the first after it without.
    """
    found = np.asarray(bars, dtype=np.int64).reshape(-1, 2)
    layers: Bars = found // 2 + found % 2
    return layers[layers[:, 0] < layers[:, 1]]


def persistence_similarity(bars: npt.ArrayLike, n_layers: int) -> npt.NDArray[np.int64]:
    """PHSim: how many cycles live in two layers and in all between them.

    Parameters
    ----------
    bars : array of int, shape (n, 2)
        Birth and death in the zigzag over these layers, as of `layer_bars`.
    n_layers : int
        L.

    Returns
    -------
    array of int, shape (L, L)
        Symmetric; the diagonal is the Betti number of each layer.

    Raises
    ------
    ArgumentError
        A bar is not within the zigzag.
    """
    found = np.asarray(bars, dtype=np.int64).reshape(-1, 2)
    end = 2 * n_layers - 1
    if np.any((found[:, 0] < 0) | (found[:, 1] > end) | (found[:, 0] >= found[:, 1])):
        raise ArgumentError(f"a bar is not within the zigzag of {n_layers} layers: 0 to {end}")
    image = np.zeros((n_layers + 1, n_layers + 1), dtype=np.int64)
    layers = layer_bars(found)
    np.add.at(image, (layers[:, 0], layers[:, 1]), 1)
    # Entry [a, b]: bars born at a layer up to a, and dead after layer b.
    shared = np.cumsum(np.cumsum(image, axis=0)[:, ::-1], axis=1)[:, ::-1]
    upper = np.triu(shared[:n_layers, 1:])
    found_similarity: npt.NDArray[np.int64] = upper + np.triu(upper, 1).T
    return found_similarity


def mean_similarity(similarity: npt.ArrayLike) -> Values:
    """The mean share of each layer's cycles that a layer shares: r_a = mean_j P(a, j) / P(j, j).

    A layer j without cycles shares none: its term is 0. Another convention, such as leaving it out
    of the mean, would multiply every r by the same number.

    Parameters
    ----------
    similarity : array of int, shape (L, L)
        P, of `persistence_similarity`.

    Returns
    -------
    array of float, shape (L,)
        From 0 to 1.
    """
    table = np.asarray(similarity, dtype=np.float64)
    betti = np.diag(table)
    shares = np.divide(table, betti, out=np.zeros_like(table), where=betti > 0)
    found: Values = shares.mean(axis=1)
    return found


def cut_layers(mean: npt.ArrayLike, ratio: float) -> npt.NDArray[np.bool_]:
    """Which layers the rule of arXiv 2410.11042 cuts: r_a >= ratio * max(r).

    Parameters
    ----------
    mean : array of float, shape (L,)
        r, of `mean_similarity`.
    ratio : float
        p, above 0 and at most 1. The paper's are .9 and .8.

    Returns
    -------
    array of bool, shape (L,)

    Raises
    ------
    ArgumentError
        The ratio is out of range, or no layer shares a cycle.
    """
    values = np.asarray(mean, dtype=np.float64)
    if not 0 < ratio <= 1:
        raise ArgumentError(f"the ratio is {ratio}, but must be above 0 and at most 1")
    most = float(values.max(initial=0.0))
    if most <= 0:
        raise ArgumentError("no layer shares a cycle with any: there is nothing to cut by")
    found: npt.NDArray[np.bool_] = values >= ratio * most
    return found
