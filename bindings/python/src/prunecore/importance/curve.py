# SPDX-License-Identifier: Apache-2.0
"""Pruning curves: the loss as more and more units are removed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.draw import draw
from prunecore._native.json_files import SavedResult
from prunecore._native.numbers import checked_count
from prunecore._native.paths import shown
from prunecore._native.progress import ProgressFunction
from prunecore.errors import ArgumentError
from prunecore.importance.ranking import Ranking
from prunecore.masks.mask import Mask
from prunecore.measures.evaluate import evaluate_masks
from prunecore.measures.evaluation import Evaluation
from prunecore.shape import Cost

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from prunecore.data.data import Data
    from prunecore.opened import OpenModel


@dataclass(frozen=True)
class Curve(SavedResult):
    """Loss of a model as the least important units go, one after the other.

    Attributes
    ----------
    metric : str
        What ordered the units.
    granularity : str
        What is removed: "sublayer", "block", "attention", "feed_forward", or "players" for groups
        of sublayers.
    n_removed : tuple of int
        Units removed at each point: 0 .. n.
    evaluations : tuple of Evaluation
        One per point.
    masks : tuple of Mask
        One per point; each lacks what the one before it lacks.
    cost : tuple of Cost
        What each mask leaves of the model.
    provenance : dict
        Model, data and scores that the curve comes from.
    """

    metric: str
    granularity: str
    n_removed: tuple[int, ...]
    evaluations: tuple[Evaluation, ...]
    masks: tuple[Mask, ...]
    cost: tuple[Cost, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def losses(self) -> npt.NDArray[np.float64]:
        """Loss of each point, nats per predicted token."""
        return np.array([evaluation.loss for evaluation in self.evaluations])

    def to_dict(self) -> dict[str, Any]:
        """The curve as JSON values: format, version, metric, granularity, points, provenance."""
        points = [
            {
                "n_removed": count,
                **evaluation.to_dict(),
                **cost.to_dict(),
                "removed": mask.removed,
            }
            for count, evaluation, mask, cost in zip(
                self.n_removed, self.evaluations, self.masks, self.cost, strict=True
            )
        ]
        return {
            "format": "prunecore.curve",
            "version": 1,
            "metric": self.metric,
            "granularity": self.granularity,
            "points": points,
            "provenance": self.provenance,
        }

    def plot(
        self, path: str | os.PathLike[str] | None = None, *, others: Sequence[Curve] = ()
    ) -> Figure:
        """Draws the curve, and others with it.

        Parameters
        ----------
        path : path, optional
            Where to save the picture, as its suffix says (.png, .svg, .pdf).
        others : sequence of Curve
            Drawn into the same picture.
        """
        return draw("pruning_curves", [self, *others], path=path)


def curve(
    self: OpenModel,
    data: Data,
    scores: Ranking,
    metric: str | None = None,
    max_removed: int | None = None,
    *,
    only: Literal["attention", "feed_forward"] | str | None = None,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> Curve:
    """The loss with 0, 1, 2, .. of the least important units removed.

    Parameters
    ----------
    data : Data
        Held-out text: other than what the scores were made from.
    scores : Scores or ShapleyScores
        What says which units matter least.
    metric : str, optional
        Which of its metrics decides. May be left out where there is only one.
    max_removed : int, optional
        Where to stop. Default: all units.
    only : {"attention", "feed_forward"}, optional
        Remove only this kind, from scores of sublayers.
    """
    if not isinstance(scores, Ranking):
        raise ArgumentError(f"scores are {shown(scores)}, but must be Scores or ShapleyScores")
    scores.check_model(self)
    name = scores.chosen_metric(metric)
    available = len(scores.order(name, only=only))
    count = available
    if max_removed is not None:
        count = checked_count("max_removed", max_removed, 0, available)
    masks = tuple(scores.prune(n, name, only=only) for n in range(count + 1))
    evaluations = evaluate_masks(self, data, masks, batch_tokens=batch_tokens, progress=progress)
    return Curve(
        metric=name,
        granularity=scores.removed_granularity(only),
        n_removed=tuple(range(count + 1)),
        evaluations=tuple(evaluations),
        masks=masks,
        cost=tuple(self.cost(mask) for mask in masks),
        provenance={
            "model": self.provenance,
            "data_sha256": data.digest,
            "scores": scores.provenance,
        },
    )
