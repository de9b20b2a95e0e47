# SPDX-License-Identifier: Apache-2.0
"""Runs the search study: every strategy at the same number of removals."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prunecore._native.names.tables import GRANULARITY, Granularity, Strategy
from prunecore._native.names.units import unit_count
from prunecore._native.numbers import checked_count
from prunecore._native.progress import ProgressFunction
from prunecore.data.verbs import verb
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Keep, Mask
from prunecore.shapley.players import granularity_players
from prunecore.studies.search_study import EXHAUSTIVE, SearchPoint, SearchStudy

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.model import Model
    from prunecore.search.result import SearchResult

STUDIED: tuple[Granularity, ...] = ("block", "sublayer")
COUNTS = (2, 4, 6, 8)
MOST_SUBSETS = 4096
"""Subsets of one size that the best is looked for among at most: enough for any of 12 blocks."""

Step = Callable[[str], ProgressFunction | None]
"""Told what comes next; gives the progress function for it."""


@dataclass(frozen=True)
class SearchMethod:
    """A way to choose what is removed.

    Attributes
    ----------
    name : str
        What results call it.
    strategy : str
        As for `Model.search`.
    metric : str or None
        What units are scored by, where scores play a part.
    candidates, exchanges : int or None
        Of "greedy".
    seeds : tuple of int
        Of what is drawn: the search runs once for each, and its numbers are means.
    only : str or None
        The one granularity that it can be used for; None = any.
    """

    name: str
    strategy: Strategy
    metric: str | None = None
    candidates: int | None = None
    exchanges: int | None = None
    seeds: tuple[int, ...] = (0,)
    only: Granularity | None = None


METHODS: tuple[SearchMethod, ...] = (
    SearchMethod("evolutionary", "evolutionary"),
    SearchMethod("greedy", "greedy"),
    SearchMethod("greedy, no exchanges", "greedy", exchanges=0),
    SearchMethod(
        name="greedy, 6 candidates", strategy="greedy", metric="leave_one_out_loss", candidates=6
    ),
    SearchMethod("one-shot, leave-one-out loss", "one_shot", "leave_one_out_loss"),
    SearchMethod("one-shot, cosine", "one_shot", "cosine"),
    SearchMethod("one-shot, relative L2", "one_shot", "relative_l2"),
    SearchMethod("window, loss", "window", "leave_one_out_loss"),
    SearchMethod("window, angular", "window", "angular", only="block"),
    SearchMethod("tail", "tail"),
    SearchMethod("random", "random", seeds=(0, 1, 2, 3, 4)),
)
"""Those that the study compares."""


@verb
def study_search(
    model: Model,
    data: Data,
    held_out: Data,
    granularities: Sequence[str] = STUDIED,
    counts: Sequence[int] = COUNTS,
    *,
    methods: Sequence[SearchMethod] = METHODS,
    step: Step | None = None,
) -> SearchStudy:
    """Removes as many units by each strategy, and measures what that does and what it took.

    Where all subsets of a size can be evaluated (at most 4,096), the best of them is found, too.

    Parameters
    ----------
    model : Model
        The full model.
    data : Data
        What damages and scores come from: the loss on it is what searches lower.
    held_out : Data
        Other text, to measure the loss on.
    granularities : sequence of str
        What to remove: any of block, sublayer, attention, feed_forward.
    counts : sequence of int
        How many.
    methods : sequence of SearchMethod
        The strategies.
    step : callable, optional
        Told what comes next; gives the progress function for it.
    """
    names = [GRANULARITY.parse(granularity) for granularity in granularities]
    n_blocks = model.shape.n_blocks
    for name, count in itertools.product(names, counts):
        checked_count("counts", count, 1, unit_count(name, n_blocks))
    if not names or not counts or not methods:
        raise ArgumentError("there is nothing to study: give granularities, counts and methods")
    bench = _Bench(model, data, held_out, step or (lambda _label: None))
    points: list[SearchPoint] = []
    for name, count in itertools.product(names, counts):
        if math.comb(unit_count(name, n_blocks), count) <= MOST_SUBSETS:
            points.append(bench.best_of_all(name, count))
        points += [
            bench.point(name, count, method) for method in methods if method.only in (None, name)
        ]
    everything = Mask.all(n_blocks)
    return SearchStudy(
        damage=bench.damage(everything),
        loss=bench.loss(everything),
        points=tuple(points),
        provenance={
            "model": model.provenance,
            "data_sha256": data.digest,
            "data_tokens": data.n_tokens,
            "held_out_sha256": held_out.digest,
            "held_out_tokens": held_out.n_tokens,
            "seeds": {method.name: list(method.seeds) for method in methods},
        },
    )


class _Bench:
    """What the points of a study have in common.

    Every sequence is a batch of its own, so that the cost of what was evaluated on a part of the
    data is that part.
    """

    def __init__(self, model: Model, data: Data, held_out: Data, step: Step) -> None:
        self._model, self._data, self._held_out, self._step = model, data, held_out, step
        self._batch = max(len(row) for row in data.sequences)
        whole = model.damages(data, [Mask.all(model.shape.n_blocks)], batch_tokens=self._batch)
        self._batches = whole.report.sublayers_computed / (2 * model.shape.n_blocks)
        self._losses: dict[Mask, float] = {}
        self._scoring: dict[tuple[str, str | None], tuple[float, float]] = {}

    def damage(self, mask: Mask) -> float:
        """The loss on the data of the searches."""
        return float(self._model.damages(self._data, [mask]).values[0])

    def loss(self, mask: Mask) -> float:
        """The loss on the held-out text."""
        if mask not in self._losses:
            self._losses[mask] = self._model.evaluate(self._held_out, mask).loss
        return self._losses[mask]

    def best_of_all(self, granularity: Granularity, count: int) -> SearchPoint:
        """The subset with the lowest damage."""
        n_blocks = self._model.shape.n_blocks
        members = granularity_players(granularity, n_blocks).members
        subsets = list(itertools.combinations(range(len(members)), count))
        keeps: Keep = np.ones((len(subsets), 2 * n_blocks), dtype=np.uint8)
        for keep, subset in zip(keeps, subsets, strict=True):
            keep[[sublayer for unit in subset for sublayer in members[unit]]] = 0
        began = time.monotonic()
        found = self._model.damages(
            self._data,
            keeps,
            batch_tokens=self._batch,
            progress=self._step(f"{count} of {granularity}: all subsets"),
        )
        best = int(np.argmin(found.values))
        mask = Mask(keeps[best])
        return SearchPoint(
            granularity=granularity,
            n_removed=count,
            method=EXHAUSTIVE,
            removed=tuple(mask.removed),
            damage=float(found.values[best]),
            loss=self.loss(mask),
            masks=len(subsets),
            sublayers=found.report.sublayers_computed / self._batches,
            sublayers_naive=found.report.sublayers_naive / self._batches,
            seconds=time.monotonic() - began,
        )

    def point(self, granularity: Granularity, count: int, method: SearchMethod) -> SearchPoint:
        """What one strategy finds."""
        progress = self._step(f"{count} of {granularity}: {method.name}")
        found: list[SearchResult] = []
        began = time.monotonic()
        for seed in method.seeds:
            found.append(
                self._model.search(
                    self._data,
                    method.strategy,
                    granularity,
                    remove=count,
                    metric=method.metric,
                    candidates=method.candidates,
                    exchanges=method.exchanges,
                    seed=seed,
                    batch_tokens=self._batch,
                    batch_progress=progress,
                )
            )
        seconds = (time.monotonic() - began) / len(found)
        damages = [
            each.damage if math.isfinite(each.damage) else self.damage(each.mask) for each in found
        ]
        states = [each.state for each in found]
        # The damage of runs is told, and counted, as any other.
        scored = None if method.strategy == "window" and method.metric != "angular" else found[0]
        metric = None if scored is None else scored.provenance["metric"]
        computed, naive = self._scoring_cost(granularity, metric)
        return SearchPoint(
            granularity=granularity,
            n_removed=count,
            method=method.name,
            removed=tuple(found[0].removed),
            damage=float(np.mean(damages)),
            loss=float(np.mean([self.loss(each.mask) for each in found])),
            masks=float(np.mean([state.told for state in states])),
            sublayers=computed
            + float(np.mean([s.sublayers_computed for s in states])) / self._batches,
            sublayers_naive=naive
            + float(np.mean([s.sublayers_naive for s in states])) / self._batches,
            seconds=seconds,
        )

    def _scoring_cost(self, granularity: Granularity, metric: str | None) -> tuple[float, float]:
        """Sublayer evaluations of the scores that a search begins with, and mask by mask."""
        n_blocks = self._model.shape.n_blocks
        if metric is None:
            return 0.0, 0.0
        if metric != "leave_one_out_loss":  # one pass gives all
            return 2.0 * n_blocks, 2.0 * n_blocks
        if (granularity, metric) not in self._scoring:
            members = granularity_players(granularity, n_blocks).members
            keeps: Keep = np.ones((len(members) + 1, 2 * n_blocks), dtype=np.uint8)
            for keep, sublayers in zip(keeps, members, strict=False):  # the last keeps everything
                keep[list(sublayers)] = 0
            report = self._model.damages(self._data, keeps, batch_tokens=self._batch).report
            self._scoring[granularity, metric] = (
                report.sublayers_computed / self._batches,
                report.sublayers_naive / self._batches,
            )
        return self._scoring[granularity, metric]
