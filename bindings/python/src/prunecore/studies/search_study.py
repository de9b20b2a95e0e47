# SPDX-License-Identifier: Apache-2.0
"""The search study: what each strategy finds at the same number of removals, and what it takes."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from prunecore._native.draw import draw
from prunecore.studies.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXHAUSTIVE = "exhaustive"
"""The name of the best of all subsets among the methods."""


@dataclass(frozen=True)
class SearchPoint:
    """What one strategy found at one number of removals.

    Attributes
    ----------
    granularity : str
        What was removed: "block", "sublayer", "attention" or "feed_forward".
    n_removed : int
        How many of these.
    method : str
        The name of a `SearchMethod`; "exhaustive" for the best of all subsets.
    removed : tuple of str
        Names of the removed sublayers; with several seeds, those of the first.
    damage : float
        The loss on the data of the search, a mean over the seeds, as all that follow.
    loss : float
        On held-out text.
    masks : float
        Whose damage was told.
    sublayers : float
        Evaluations of sublayers that it took, scoring included; one on all the data counts 1, one
        on a part of it that part.
    sublayers_naive : float
        What they would have been mask by mask.
    seconds : float
        That it took.
    """

    granularity: str
    n_removed: int
    method: str
    removed: tuple[str, ...]
    damage: float
    loss: float
    masks: float
    sublayers: float
    sublayers_naive: float
    seconds: float


@dataclass(frozen=True)
class SearchStudy(Study[SearchPoint]):
    """What each strategy finds.

    Attributes
    ----------
    damage, loss : float
        Of the full model, on the data of the searches and on the held-out text.
    points : tuple of SearchPoint
        By granularity, number removed and method, "exhaustive" first where it is known.
    provenance : dict
        Model, data and options, as JSON values.
    """

    format: ClassVar[str] = "prunecore.search_study"
    noun: ClassVar[str] = "search study"
    point: ClassVar[type[SearchPoint]] = SearchPoint

    damage: float
    loss: float
    points: tuple[SearchPoint, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """The methods, "exhaustive" first if there is one."""
        names = list(dict.fromkeys(point.method for point in self.points))
        return sorted(names, key=lambda name: name != EXHAUSTIVE)

    def above_best(self, granularity: str, n_removed: int, method: str) -> float:
        """How far the damage is above that of the best subset of all; NaN where that is unknown."""
        if not any(
            (point.granularity, point.n_removed, point.method)
            == (granularity, n_removed, EXHAUSTIVE)
            for point in self.points
        ):
            return math.nan
        best = self.at(granularity, n_removed, EXHAUSTIVE)
        return self.at(granularity, n_removed, method).damage - best.damage

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draws held-out losses and costs; saved where a path is given."""
        return draw("search_losses", self, path=path)
