# SPDX-License-Identifier: Apache-2.0
"""What pruning for one task does to another, and the compromises between them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.draw import draw
from prunecore._native.json_files import SavedResult
from prunecore.errors import ArgumentError
from prunecore.importance.scores import Scores
from prunecore.masks.mask import Mask
from prunecore.studies.task_orders import non_dominated, spearman_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from prunecore.studies.task_sufficiency import TaskSufficiency

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Compromise:
    """One way to prune for several tasks at once.

    Attributes
    ----------
    weights : tuple of tuple of float
        Every weighting of the tasks, of those tried, that leads to this mask.
    mask : Mask
        What is left.
    losses : tuple of float
        Held-out loss of each task, nats per token.
    on_front : bool
        Whether no other compromise with as many units removed has a loss as low for every task and
        lower for one.
    """

    weights: tuple[tuple[float, ...], ...]
    mask: Mask
    losses: tuple[float, ...]
    on_front: bool


@dataclass(frozen=True, eq=False)
class TaskComparison(SavedResult):
    """Tasks, compared by what a model needs for them. `compare_tasks` makes it.

    T tasks; n_removed = 0 .. K units; W weightings of the tasks. Definitions: docs/tasks.md.

    Attributes
    ----------
    tasks : tuple of str
        Names of the tasks.
    metric : str
        What importance is measured by.
    granularity : str
        What the units are.
    combine : str
        What combined orders add up: "rank" or "importance".
    scores : tuple of Scores
        Importance of every unit, one per task, on its calibration part.
    losses : array of float, shape (K + 1, T, T)
        Entry [k, a, b]: held-out loss of task b without the k units that matter least to task a.
    weights : array of float, shape (W, T)
        Weightings of the tasks, each adding up to 1.
    combined_masks : tuple of tuple of Mask
        Entry [k][w]: without the k units that matter least by weighting w.
    combined_losses : array of float, shape (K + 1, W, T)
        Held-out loss of each task under them.
    provenance : dict
        Model, data, seed.
    information : TaskSufficiency or None
        How far what one task's pruned model represents determines what another's does.
    """

    tasks: tuple[str, ...]
    metric: str
    granularity: str
    combine: str
    scores: tuple[Scores, ...]
    losses: Values
    weights: Values
    combined_masks: tuple[tuple[Mask, ...], ...]
    combined_losses: Values
    provenance: dict[str, Any]
    information: TaskSufficiency | None = None

    @property
    def max_removed(self) -> int:
        """K: units removed at most."""
        return len(self.losses) - 1

    @cached_property
    def importance(self) -> Values:
        """Importance of every unit to every task, shape (T, n_units)."""
        return np.array([scores[self.metric] for scores in self.scores])

    @cached_property
    def spearman(self) -> Values:
        """Spearman's correlation of the tasks' importances, shape (T, T).

        NaN where a task holds all units for equal.
        """
        order = set(self.scores[0].order())  # units that the model's mask lacks have no importance
        kept = [name in order for name in self.scores[0].unit_names]
        return spearman_matrix(self.importance[:, kept])

    @property
    def sufficiency(self) -> Values | None:
        """Information sufficiency between the tasks, shape (T, T); None if it was not measured.

        Entry [a, b]: the share of what the model pruned for task b represents that the model pruned
        for task a determines, with `max_removed` units removed from each. 1 on the diagonal.
        """
        return None if self.information is None else self.information.estimate.shares

    @property
    def sufficiency_errors(self) -> Values | None:
        """Standard errors of the sufficiency, shape (T, T); NaN where they are not known."""
        return None if self.information is None else self.information.estimate.errors

    @cached_property
    def damage(self) -> Values:
        """Relative increase of the loss, shape (K + 1, T, T).

        Entry [k, a, b]: what removing the k units that matter least to task a does to task b.
        """
        found: Values = self.losses / self.losses[0, 0] - 1
        return found

    @cached_property
    def on_front(self) -> npt.NDArray[np.bool_]:
        """Which weightings are on the Pareto front of each number removed, shape (K + 1, W)."""
        return np.array([non_dominated(points) for points in self.combined_losses])

    def compromises(self, n_removed: int) -> list[Compromise]:
        """What the weightings lead to with so many units removed, each mask once.

        Sorted by the losses of the tasks, the first task first.
        """
        if not 0 <= n_removed <= self.max_removed:
            raise ArgumentError(
                f"n_removed is {n_removed}, but must be from 0 to {self.max_removed}"
            )
        ways: dict[Mask, list[int]] = {}
        for index, mask in enumerate(self.combined_masks[n_removed]):
            ways.setdefault(mask, []).append(index)
        found = [
            Compromise(
                weights=tuple(tuple(self.weights[index].tolist()) for index in indices),
                mask=mask,
                losses=tuple(self.combined_losses[n_removed, indices[0]].tolist()),
                on_front=bool(self.on_front[n_removed, indices[0]]),
            )
            for mask, indices in ways.items()
        ]
        return sorted(found, key=lambda compromise: compromise.losses)

    def front(self, n_removed: int) -> list[Compromise]:
        """The Pareto front: those compromises of which no other is better for every task."""
        return [found for found in self.compromises(n_removed) if found.on_front]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "format": "prunecore.tasks",
            "version": 1,
            "tasks": list(self.tasks),
            "metric": self.metric,
            "granularity": self.granularity,
            "combine": self.combine,
            "units": list(self.scores[0].unit_names),
            "importance": dict(zip(self.tasks, self.importance.tolist(), strict=True)),
            "order": {
                task: scores.order() for task, scores in zip(self.tasks, self.scores, strict=True)
            },
            "spearman": [
                [None if math.isnan(value) else value for value in row]
                for row in self.spearman.tolist()
            ],
            "sufficiency": None if self.information is None else self.information.to_dict(),
            "n_removed": list(range(self.max_removed + 1)),
            "losses": self.losses.tolist(),
            "damage": self.damage.tolist(),
            "compromises": [
                [
                    {
                        "weights": [list(weights) for weights in found.weights],
                        "removed": found.mask.removed,
                        "losses": list(found.losses),
                        "on_front": found.on_front,
                    }
                    for found in self.compromises(count)
                ]
                for count in range(self.max_removed + 1)
            ],
            "provenance": self.provenance,
        }

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        kind: Literal["spearman", "damage", "pareto", "sufficiency"] = "damage",
        n_removed: int | Sequence[int] | None = None,
    ) -> Figure:
        """Draws the comparison.

        Parameters
        ----------
        path : path, optional
            Where to save the picture, as its suffix says (.png, .svg, .pdf).
        kind : {"spearman", "damage", "pareto", "sufficiency"}
            How alike the tasks' importances are; what pruning for one does to the others; the
            compromises between them; which pruned model determines what another represents.
        n_removed : int or sequence of int, optional
            Of damage and pareto: how many units removed. Default: a third, two thirds and all of
            those removed at most; for pareto of three tasks or more the most only.
        """
        if kind == "spearman":
            return draw("task_correlation", self, path=path)
        if kind == "sufficiency":
            if self.information is None:
                raise ArgumentError("the sufficiency was not measured: there is nothing to draw")
            return draw("task_sufficiency", self, path=path)
        if kind not in ("damage", "pareto"):
            raise ArgumentError(
                f"kind is '{kind}', but must be spearman, damage, pareto or sufficiency"
            )
        name = "task_damage" if kind == "damage" else "task_front"
        return draw(name, self, n_removed, path=path)
