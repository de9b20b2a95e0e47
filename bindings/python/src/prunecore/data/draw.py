# SPDX-License-Identifier: Apache-2.0
"""Which of several things are taken."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from prunecore._native.numbers import checked_count


def chosen_indices(
    count: int,
    limit: int | None,
    seed: int | None,
    groups: Sequence[Hashable] | None = None,
) -> list[int]:
    """Which of `count` things are taken, ascending.

    With a seed they are drawn at random. Without one, all groups give alike: each as many of its
    first ones as the others, as far as it has them. Where there are more groups than `limit`, one
    each of groups that lie evenly among them.

    Parameters
    ----------
    count : int
        How many there are.
    limit : int or None
        How many are taken at most; None = all.
    seed : int or None
        Of the draw.
    groups : sequence, optional
        Of each thing, what it belongs to, such as its file or subject. Default: all to one.
    """
    if seed is not None:
        seed = checked_count("seed", seed, 0, 2**128)
    if limit is None:
        return list(range(count))
    limit = checked_count("limit", limit, most=2**63 - 1)
    if limit >= count:
        return list(range(count))
    if seed is None:
        return _alike(count, limit, groups)
    chosen = np.random.default_rng(seed).choice(count, size=limit, replace=False)
    return [int(index) for index in np.sort(chosen)]


def _alike(count: int, limit: int, groups: Sequence[Hashable] | None) -> list[int]:
    if groups is None:
        return list(range(limit))
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    chosen: list[int] = []
    rank = 0
    while len(chosen) < limit:
        # One more of every group that has so many.
        layer = [indices[rank] for indices in members.values() if len(indices) > rank]
        left = limit - len(chosen)
        if left < len(layer):
            layer = [layer[place * len(layer) // left] for place in range(left)]
        chosen += layer
        rank += 1
    return sorted(chosen)
