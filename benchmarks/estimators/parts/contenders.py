# SPDX-License-Identifier: Apache-2.0
"""The estimators that are compared, PruneCore's and shapiq's, each behind the same small interface.

A contender plays a game as a generator: it yields coalitions whose worths it wants, is sent the
worths, and returns its estimate.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import prunecore as pc
import shapiq

from benchmarks.estimators.parts.games import Floats, Masks

DEFAULT = "surrogate"
SEQUENTIAL = ("truncated",)  # what they ask for next depends on what they were told last


@dataclass(frozen=True)
class Estimate:
    """What a contender says at the end."""

    values: Floats
    standard_errors: Floats | None


Play = Generator[Masks, Floats, Estimate]


@dataclass(frozen=True)
class Contender:
    """One estimator. `play(players, budget, seed)` begins a game."""

    name: str
    play: Callable[[int, int, int], Play]
    estimates_shapley: bool = True  # False: only its ranking is compared
    has_errors: bool = True


def ours(name: str) -> Contender:
    """An estimator of PruneCore.

    It is asked for all that it will say at once; a sequential one for one coalition at a time, or
    it would begin more orders than the budget can end.
    """

    def play(players: int, budget: int, seed: int) -> Play:
        most = 1 if name in SEQUENTIAL else budget
        estimator = pc.Game(players, estimator=name, seed=seed, budget=budget)
        while not estimator.done:
            masks = estimator.ask(most)
            if not len(masks):
                raise RuntimeError(f"{name} is not done, waits for nothing, and asks for nothing")
            estimator.tell(masks, (yield masks))
        found = estimator.result()
        return Estimate(found.values, found.standard_errors)

    ranks_only = name in ("leave_one_out", "random_subnetworks")
    return Contender(name, play, estimates_shapley=not ranks_only)


def theirs(name: str, make: Callable[[int, int], shapiq.approximator.Approximator]) -> Contender:
    """An estimator of shapiq: `make(players, seed)`.

    Which coalitions it asks for does not depend on their worths, so that it is run twice: first to
    learn them all, then to play. `Game.worths` would fail if that were otherwise.
    """

    def play(players: int, budget: int, seed: int) -> Play:
        asked: list[Masks] = []

        def listen(masks: Masks) -> Floats:
            asked.append(np.atleast_2d(masks).astype(bool))
            return np.zeros(len(asked[-1]))

        _approximate(make(players, seed), budget, listen)
        masks = np.concatenate(asked)
        told = yield masks
        worths = {row.tobytes(): worth for row, worth in zip(masks, told, strict=True)}

        def answer(masks: Masks) -> Floats:
            rows = np.atleast_2d(masks).astype(bool)
            return np.array([worths[row.tobytes()] for row in rows])

        found = _approximate(make(players, seed), budget, answer)
        return Estimate(np.array([found[(player,)] for player in range(players)]), None)

    return Contender(name, play, has_errors=False)


def _approximate(
    approximator: shapiq.approximator.Approximator, budget: int, game: Callable[[Masks], Floats]
) -> shapiq.InteractionValues:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of the constant game of the first run
        return approximator.approximate(budget, game)


OURS = (
    "surrogate",
    "kernel_shap",
    "stratified",
    "antithetic",
    "truncated",
    "permutation",
    "leave_one_out",
    "random_subnetworks",
)
CONTENDERS = {
    contender.name: contender
    for contender in (
        *(ours(name) for name in OURS),
        theirs(
            "shapiq KernelSHAP, paired",
            lambda n, seed: shapiq.KernelSHAP(n, pairing_trick=True, random_state=seed),
        ),
        theirs("shapiq KernelSHAP", lambda n, seed: shapiq.KernelSHAP(n, random_state=seed)),
        theirs(
            "shapiq KernelSHAP, leverage weights",
            lambda n, seed: shapiq.KernelSHAP(
                n, pairing_trick=True, sampling_weights=np.ones(n + 1), random_state=seed
            ),
        ),
        theirs(
            "shapiq kADDSHAP, order 2",
            lambda n, seed: shapiq.kADDSHAP(n, max_order=2, random_state=seed),
        ),
        theirs(
            "shapiq PermutationSamplingSV",
            lambda n, seed: shapiq.PermutationSamplingSV(n, random_state=seed),
        ),
        theirs("shapiq SVARM", lambda n, seed: shapiq.SVARM(n, random_state=seed)),
    )
}
PAIRED_KERNEL_SHAP = "shapiq KernelSHAP, paired"
