# SPDX-License-Identifier: Apache-2.0
"""Plays games with estimators, and says how far off they were and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import prunecore as pc
from scipy.stats import rankdata

from benchmarks.estimators.parts.contenders import Contender, Play
from benchmarks.estimators.parts.games import Floats, Game, Masks, codes

NORMAL_95 = 1.96


@dataclass(frozen=True)
class Trial:
    """One run of one estimator on one game."""

    contender: str
    text: str
    capped: bool
    budget: int
    seed: int
    error: float  # squared, relative to that of the exact values; NaN where only ranks are compared
    spearman: float
    coverage: float  # share of the players whose 95 % interval holds the exact value; or NaN
    evaluations: int
    players_computed: int  # blocks or sublayers applied, prefixes shared within a batch
    seconds: float  # of the estimator itself


def prefix_cost(masks: Masks) -> int:
    """Players that evaluating a batch of masks applies, where common prefixes are computed once.

    One for every distinct prefix that ends in a kept player: a removed one costs nothing.
    """
    numbers, players = np.unique(codes(masks)), masks.shape[1]
    prefixes = (np.unique(numbers >> shift) for shift in range(players))
    return sum(int((prefix & 1).sum()) for prefix in prefixes)


class Run:
    """An estimator in the middle of a game. It waits with `wanted`, or has its `trial`."""

    def __init__(
        self, contender: Contender, text: str, capped: bool, players: int, budget: int, seed: int
    ) -> None:
        self.contender, self.text, self.capped = contender, text, capped
        self.budget, self.seed = budget, seed
        self._evaluations = self._cost = 0
        self._seconds = 0.0
        self._play: Play = contender.play(players, budget, seed)
        self.wanted: Masks | None = None
        self._estimate = None
        self._go_on(lambda: next(self._play))

    def tell(self, game: Game) -> None:
        """Sends the worths of `wanted`."""
        worths = game.worths(self.wanted)
        self._go_on(lambda: self._play.send(worths))

    def _go_on(self, step: Callable[[], Masks]) -> None:
        start = time.perf_counter()
        try:
            self.wanted = step()
        except StopIteration as end:
            self.wanted, self._estimate = None, end.value
        except pc.DataError:
            # What it was told does not do for an estimate: counted as a miss, and shown.
            self.wanted = None
        self._seconds += time.perf_counter() - start
        if self.wanted is None:
            return
        self._evaluations += len(self.wanted)
        self._cost += prefix_cost(self.wanted)
        if self._evaluations > self.budget:
            raise RuntimeError(
                f"{self.contender.name} asks for {self._evaluations} of {self.budget} coalitions"
            )

    def trial(self, exact: Floats) -> Trial:
        """How far off the estimate is."""
        error = spearman = coverage = float("nan")
        if self._estimate is not None:
            values, errors = self._estimate.values, self._estimate.standard_errors
            spearman = rank_correlation(values, exact)
            if self.contender.estimates_shapley:
                error = float(((values - exact) ** 2).sum() / (exact**2).sum())
                if errors is not None:
                    # Where a value is exact, its error is 0; rounding is not held against it.
                    reach = NORMAL_95 * errors + 1e-9 * np.abs(exact).max()
                    coverage = float((np.abs(values - exact) <= reach).mean())
        return Trial(
            self.contender.name,
            self.text,
            self.capped,
            self.budget,
            self.seed,
            error,
            spearman,
            coverage,
            self._evaluations,
            self._cost,
            self._seconds,
        )


def rank_correlation(found: Floats, exact: Floats) -> float:
    """Spearman's: the correlation of the ranks, ties at their mean rank; 0 if all are tied."""
    a, b = (rankdata(values) - (len(exact) + 1) / 2 for values in (found, exact))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else 0.0


def play(
    contender: Contender, game: Game, exact: Floats, budgets: Iterable[int], seeds: Sequence[int]
) -> list[Trial]:
    """All budgets and seeds of one estimator on one game that is known whole."""
    found = []
    for budget in budgets:
        for seed in seeds:
            run = Run(contender, game.text, game.capped, game.players, budget, seed)
            while run.wanted is not None:
                run.tell(game)
            found.append(run.trial(exact))
    return found
