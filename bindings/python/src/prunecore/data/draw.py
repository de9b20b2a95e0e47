# SPDX-License-Identifier: Apache-2.0
"""Which of several things are taken."""

from __future__ import annotations

import numpy as np

from prunecore.errors import ArgumentError


def chosen_indices(count: int, limit: int | None, seed: int | None) -> list[int]:
    """Which of `count` things are taken: the first `limit`, or as many drawn at random, sorted."""
    if limit is None:
        return list(range(count))
    if limit < 1:
        raise ArgumentError(f"limit is {limit}, but must be at least 1")
    if seed is None or limit >= count:
        return list(range(min(limit, count)))
    chosen = np.random.default_rng(seed).choice(count, size=limit, replace=False)
    return [int(index) for index in np.sort(chosen)]
