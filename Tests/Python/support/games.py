# SPDX-License-Identifier: Apache-2.0
"""Small games whose values are known, and how a test plays them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt
import prunecore as pc

Array = npt.NDArray[np.float64]
Worth = Callable[[npt.ArrayLike], Array]

SAMPLING = (
    "permutation",
    "antithetic",
    "truncated",
    "stratified",
    "kernel_shap",
    "surrogate",
)
"""Estimators of the Shapley value that draw coalitions at random."""


class TableGame:
    """A game by the worths of all its coalitions; bit i of an index says that player i is in."""

    def __init__(self, table: npt.ArrayLike) -> None:
        self.table = np.asarray(table, dtype=np.float64)
        self.players = int(self.table.size).bit_length() - 1

    @classmethod
    def random(cls, players: int, seed: int) -> TableGame:
        """Worths that have nothing to do with each other."""
        return cls(np.random.default_rng(seed).normal(size=2**players))

    @classmethod
    def layered(cls, players: int, seed: int) -> TableGame:
        """Like a model: players add, disturb each other, and all is lost when few are left."""
        rng = np.random.default_rng(seed)
        add, pair = rng.gamma(1.5, 0.2, players), rng.normal(0, 0.05, (players, players))
        masks = all_masks(players).astype(np.float64)
        worth = masks @ add + np.einsum("mi,ij,mj->m", masks, pair, masks)
        missing = players - masks.sum(1)
        return cls(worth - 0.02 * missing**3 + rng.normal(0, 0.02, len(masks)))

    def __call__(self, masks: npt.ArrayLike) -> Array:
        rows = np.asarray(masks).astype(np.int64)
        return self.table[rows @ (1 << np.arange(self.players))]

    def shapley(self) -> Array:
        """By the definition, one weight per size of the coalition that a player joins."""
        n = self.players
        return self._semivalue([1 / (n * comb(n - 1, size)) for size in range(n)])

    def banzhaf(self, keep: float) -> Array:
        """Each other player is in with probability `keep`."""
        n = self.players
        return self._semivalue([keep**size * (1 - keep) ** (n - 1 - size) for size in range(n)])

    def _semivalue(self, weights: list[float]) -> Array:
        masks, values = all_masks(self.players), []
        for player in range(self.players):
            without = masks[~masks[:, player]]
            joined = without.copy()
            joined[:, player] = True
            weight = np.array(weights)[without.sum(1)]
            values.append(float(weight @ (self(joined) - self(without))))
        return np.array(values)


def all_masks(players: int) -> npt.NDArray[np.bool_]:
    """All coalitions, in the order of a `TableGame`'s table."""
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(np.bool_)


def play(game: pc.Game, worth: Worth, batch: int = 16, rounds: int | None = None) -> pc.Game:
    """Asks and tells until the game is done, or so many times."""
    for _ in range(1 << 20 if rounds is None else rounds):
        if game.done:
            break
        masks = game.ask(batch)
        assert 0 < len(masks) <= batch
        game.tell(masks, worth(masks))
    return game


def pairs(players: int) -> list[tuple[int, int]]:
    """All pairs of players."""
    return list(combinations(range(players), 2))
