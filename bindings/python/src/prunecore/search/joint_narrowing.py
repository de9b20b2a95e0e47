# SPDX-License-Identifier: Apache-2.0
"""Neurons and sublayers that go together under a budget of bytes, by predicted damage per byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore.errors import ArgumentError
from prunecore.masks.mask import Keep
from prunecore.search.narrowed_model import Narrowed, NarrowingRun
from prunecore.search.two_stage import Step

if TYPE_CHECKING:
    from prunecore.data.data import Data

LEAST_DAMAGE = 1e-6
"""What a removal counts as whose measured damage is none: removals without damage come first, the
largest before others."""

STEADY_SHARE = 0.5
"""Of the median: the least damage that a removal counts as."""

STEPS_PER_ROUND = 64
"""Pieces in which neurons go at least, so that blocks are weighed against each other."""


@dataclass(frozen=True)
class NeuronBytes:
    """Bytes of a feed-forward by its width: `narrow + per_neuron * width`, or `whole` as it was.

    Attributes
    ----------
    whole, narrow : int
        Of the sublayer as it is; of one of no neurons.
    per_neuron : int
        More for each.
    """

    whole: int
    narrow: int
    per_neuron: int

    def of(self, width: int, whole_width: int) -> int:
        """Bytes at a width."""
        return self.whole if width == whole_width else self.narrow + self.per_neuron * width


class Ledger:
    """What everything costs in bytes, measured once on narrowed models.

    Parameters
    ----------
    run : NarrowingRun
        Of the model.
    """

    def __init__(self, run: NarrowingRun) -> None:
        whole = run.whole()
        self.widths = whole.widths
        self.sublayers = [own.parameter_bytes for own in run.model.sublayers]
        self.fixed = run.cost(whole).parameter_bytes - int(np.dot(whole.keep, self.sublayers))
        group = run.group
        probes = []
        for times in (1, 2):
            state = replace(
                whole, widths=tuple(max(width - times * group, 0) for width in whole.widths)
            )
            with run.opened(state) as narrowed:
                probes.append([own.parameter_bytes for own in narrowed.sublayers])
        self.neurons: list[NeuronBytes] = []
        for block, width in enumerate(whole.widths):
            one, two = (own[2 * block + 1] for own in probes)
            each = (one - two) // group
            own = self.sublayers[2 * block + 1]
            self.neurons.append(NeuronBytes(own, one - each * (width - group), each))

    def of(self, state: Narrowed) -> int:
        """Bytes of all parameters that are left."""
        total = self.fixed
        for block, width in enumerate(state.widths):
            if state.keep[2 * block]:
                total += self.sublayers[2 * block]
            if state.keep[2 * block + 1]:
                total += self.neurons[block].of(width, self.widths[block])
        return total


def narrow_jointly(
    run: NarrowingRun,
    ledger: Ledger,
    budget: int,
    data: Data,
    *,
    spared: Keep,
    rounds: int,
    uniform: bool,
    whole_blocks: bool,
    multiple_of: int,
    step: Step | None = None,
) -> tuple[Narrowed, float]:
    """Removes neurons and sublayers until the bytes that are left fit the budget.

    In each round the damage of every sublayer's removal is measured on what is left, D(u). That of
    some neurons of a feed-forward u is predicted: D(u) times their share of the sum of squared
    contributions, since the loss grows about as the square of what the update lacks. Then goes what
    has the least damage per byte, until the round's part of the bytes is saved.

    Parameters
    ----------
    run, ledger
        Of the model.
    budget : int
        Bytes of parameters at most.
    data : Data
        What losses are measured on.
    spared : array of 0 and 1
        1 = never removed; feed-forwards among them are not narrowed either.
    rounds : int
        Number of rounds.
    uniform : bool
        Whether all feed-forwards get one width.
    whole_blocks : bool
        Whether sublayers go by whole blocks only.
    multiple_of : int
        What new widths are multiples of.
    step : callable, optional
        Told after each round.

    Returns
    -------
    state, loss
        What is left, and its loss on these data.

    Raises
    ------
    ArgumentError
        The budget cannot be met.
    """
    state = run.whole()
    start = ledger.of(state)
    loss = run.loss(state, data)
    for number in range(1, rounds + 1):
        goal = start - (start - budget) * number // rounds
        units = _units(state, spared, whole_blocks)
        damages = run.losses(state, [_without(state, unit).keep for unit in units], data) - loss
        prices = _Prices(run, ledger, state, units, _steadied(damages))
        while ledger.of(state) > goal:
            state = prices.cheapest(
                state, goal, budget, spared=spared, uniform=uniform, multiple_of=multiple_of
            )
        loss = run.loss(state, data)
        if step is not None:
            step(state, f"round {number}", loss)
    return state, loss


def _steadied(damages: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Damages with those below a share of the median raised to it.

    On few tokens, small damages are what chance makes of them, down to below 0. Taken at their
    word, a search removes what looks harmless on its own data alone.
    """
    return np.maximum(damages, max(LEAST_DAMAGE, STEADY_SHARE * float(np.median(damages))))


def _units(state: Narrowed, spared: Keep, whole_blocks: bool) -> list[tuple[int, ...]]:
    """What may go at one time: sublayers that are left, or blocks."""
    left = [u for u in range(len(state.keep)) if state.keep[u]]
    if not whole_blocks:
        return [(u,) for u in left]
    return [(2 * b, 2 * b + 1) for b in range(len(state.keep) // 2) if state.keep[2 * b]] + [
        (u,) for u in left if u % 2
    ]


def _without(state: Narrowed, unit: Sequence[int]) -> Narrowed:
    for sublayer in unit:
        state = state.without(sublayer)
    return state


class _Prices:
    """Damage per byte of what may go next, for one round."""

    def __init__(
        self,
        run: NarrowingRun,
        ledger: Ledger,
        state: Narrowed,
        units: Sequence[tuple[int, ...]],
        damages: npt.NDArray[np.float64],
    ) -> None:
        self.ledger = ledger
        self.metric, self.group = run.metric, run.group
        self.removable = {unit: float(own) for unit, own in zip(units, damages, strict=True)}
        # By block, damage of losing all but the first `width` neurons in the order of their scores.
        self.curves: dict[int, npt.NDArray[np.float64]] = {}
        for block, width in enumerate(state.widths):
            if not state.keep[2 * block + 1] or not width:
                continue
            order = np.argsort(-run.scores[run.metric][block], kind="stable")[:width]
            squares = run.scores.contributions[block][order] ** 2
            lost = np.concatenate([np.cumsum(squares[::-1])[::-1], [0.0]])
            whole = self.removable.get((2 * block + 1,), 0.0)
            self.curves[block] = whole * lost / max(lost[0], 1e-300)

    def cheapest(
        self,
        state: Narrowed,
        goal: int,
        budget: int,
        *,
        spared: Keep,
        uniform: bool,
        multiple_of: int,
    ) -> Narrowed:
        """What is left after the removal of least damage per byte."""
        now = self.ledger.of(state)
        found: list[tuple[float, Narrowed]] = []
        for unit, measured in self.removable.items():
            damage = measured
            if any(spared[u] for u in unit) or not all(state.keep[u] for u in unit):
                continue
            if len(unit) == 1 and unit[0] % 2 and (2 * (unit[0] // 2), unit[0]) in self.removable:
                continue  # measured for its neurons only: whole blocks go
            if len(unit) == 1 and unit[0] // 2 in self.curves and unit[0] % 2:
                # Of what this round has left of it.
                block = unit[0] // 2
                damage = float(self.curves[block][0] - self.curves[block][state.widths[block]])
            after = _without(state, unit)
            saved = now - self.ledger.of(after)
            # A sublayer that saves more than is asked for would leave bytes of the budget unused:
            # the last ones are saved by neurons.
            if 0 < saved <= now - budget:
                found.append((damage / saved, after))
        found += self._narrower(state, now, goal, spared, uniform, multiple_of)
        if not found:
            raise ArgumentError(
                f"{budget} bytes cannot be met: {now} are left, and nothing more may go"
            )
        return min(found, key=lambda pair: pair[0])[1]

    def _narrower(
        self,
        state: Narrowed,
        now: int,
        goal: int,
        spared: Keep,
        uniform: bool,
        multiple_of: int,
    ) -> list[tuple[float, Narrowed]]:
        blocks = [b for b in self.curves if state.keep[2 * b + 1]]
        if uniform:
            if any(spared[2 * b + 1] for b in blocks):
                return []
            sets = [blocks]
        else:
            sets = [[b] for b in blocks if not spared[2 * b + 1]]
        found = []
        for own in sets:
            widths = list(state.widths)
            after = state
            if not own:
                continue
            piece = max(multiple_of, self.ledger.widths[own[0]] // STEPS_PER_ROUND)
            piece -= piece % multiple_of
            saved = 0
            lowest = min(widths[b] for b in own)
            target = lowest
            # A feed-forward of a quantised type grows before it shrinks: on to where it is smaller.
            while saved <= 0 and target > multiple_of:
                target -= target % multiple_of or piece
                target = max(target, multiple_of)
                for block in own:
                    widths[block] = min(widths[block], target)
                after = replace(state, widths=tuple(widths))
                saved = now - self.ledger.of(after)
            if saved <= 0:
                continue
            # As few as the goal takes.
            while piece > multiple_of and now - saved < goal:
                piece = max(multiple_of, piece // 2 - piece // 2 % multiple_of)
                for block in own:
                    wanted = lowest - (lowest % multiple_of or piece)
                    widths[block] = min(state.widths[block], max(wanted, multiple_of))
                less = replace(state, widths=tuple(widths))
                gained = now - self.ledger.of(less)
                if gained <= 0:
                    break
                after, saved = less, gained
            damage = sum(
                self.curves[b][after.widths[b]] - self.curves[b][state.widths[b]] for b in own
            )
            found.append((damage / saved, after))
        return found
