# SPDX-License-Identifier: Apache-2.0
"""Which units have become identities, by rules whose thresholds are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What was measured of one unit.

    Attributes
    ----------
    unit : str
        Its name, such as "block.3".
    angular : float or None
        Angular distance between the states before and after it, in units of pi.
    loss_increase : float or None
        Loss without it - loss with it, nats per predicted token.
    """

    unit: str
    angular: float | None
    loss_increase: float | None

    def __str__(self) -> str:
        said = []
        if self.angular is not None:
            said.append(f"{self.angular:.3f} pi")
        if self.loss_increase is not None:
            said.append(f"{self.loss_increase:+.4f} nats")
        return f"{self.unit} ({', '.join(said)})"


@dataclass(frozen=True)
class Verdict:
    """Which units are identities.

    Attributes
    ----------
    granularity : {"block", "sublayer"}
        What the units are.
    angular : float or None
        The bound of the angular distance, in units of pi; None = the rule was not used.
    loss_increase : float or None
        The bound of the size of it, nats per predicted token; None = the rule was not used.
    judged : int
        Units that were looked at: those that the mask keeps.
    identities : tuple of Evidence
        Units below every bound that was used, in order.
    nearest : Evidence or None
        Where there is no identity: the unit that is least far from one.
    sentence : str
        The same in words.
    """

    granularity: str
    angular: float | None
    loss_increase: float | None
    judged: int
    identities: tuple[Evidence, ...]
    nearest: Evidence | None
    sentence: str

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the identities."""
        return tuple(found.unit for found in self.identities)

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return {**asdict(self), "identities": [asdict(found) for found in self.identities]}


def judge(
    granularity: str,
    names: Sequence[str],
    distances: Values | None,
    increases: Values | None,
    *,
    angular: float,
    loss_increase: float,
) -> Verdict:
    """A unit is an identity if each number that there is lies below its bound.

    Of the change of the loss the size counts: a unit without which the loss falls does something,
    too.

    Parameters
    ----------
    granularity : str
        What the units are.
    names : sequence of str
        Of the units.
    distances, increases : array or None, shape (n_units,)
        Angular distances and increases of the loss; NaN for units that are not there. None = not
        measured: the rule is left out.
    angular, loss_increase : float
        The bounds: of the distance, and of the size of the increase.
    """
    rules = [
        (values, bound)
        for values, bound in ((distances, angular), (increases, loss_increase))
        if values is not None
    ]
    # How far a unit is from its bounds: below 1, it is under all of them.
    nearness = np.full(len(names), np.nan)
    for values, bound in rules:
        nearness = np.fmax(nearness, np.abs(values) / bound)
    there = [index for index, value in enumerate(nearness) if not math.isnan(value)]

    def evidence(index: int) -> Evidence:
        return Evidence(names[index], _at(distances, index), _at(increases, index))

    found = tuple(evidence(index) for index in there if nearness[index] < 1)
    nearest = None
    if there and not found:
        nearest = evidence(min(there, key=lambda index: float(nearness[index])))
    return Verdict(
        granularity=granularity,
        angular=None if distances is None else angular,
        loss_increase=None if increases is None else loss_increase,
        judged=len(there),
        identities=found,
        nearest=nearest,
        sentence=_sentence(granularity, len(there), found, nearest, _rules(rules, distances)),
    )


def _rules(rules: Sequence[tuple[Values, float]], distances: Values | None) -> str:
    """The rules in words, as what is true of an identity."""
    said = []
    for values, bound in rules:
        if values is distances:
            said.append(f"turns the hidden state by less than {bound:g} pi")
        else:
            said.append(f"moves the loss by less than {bound:g} nats per token when it is removed")
    return " and ".join(said)


def _sentence(
    granularity: str,
    judged: int,
    found: Sequence[Evidence],
    nearest: Evidence | None,
    rules: str,
) -> str:
    units = f"{granularity}s"
    if not judged:
        return (
            f"Nothing can be said of {units}: neither angular distances nor losses of removals "
            "were measured."
        )
    rule = f"An identity {rules}."
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        return f"{len(found)} of {judged} {units} have become identities: {listed}. {rule}"
    if found:
        return f"1 of {judged} {units} has become an identity: {found[0]}. {rule}"
    return f"None of {judged} {units} has become an identity; nearest is {nearest}. {rule}"


def _at(values: Values | None, index: int) -> float | None:
    return None if values is None or math.isnan(values[index]) else float(values[index])
