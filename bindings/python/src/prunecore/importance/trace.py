# SPDX-License-Identifier: Apache-2.0
"""The call that evaluates a model with more and more units removed: `Model.curve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from prunecore._native.progress import ProgressFunction
from prunecore.errors import ArgumentError
from prunecore.importance.curve import Curve
from prunecore.measures.evaluate import evaluate_masks

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.importance.ranking import Ranking
    from prunecore.opened import OpenModel


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
    scores.check_model(self)
    name = scores.chosen_metric(metric)
    available = len(scores.order(name, only=only))
    count = available if max_removed is None else max_removed
    if not 0 <= count <= available:
        raise ArgumentError(f"max_removed is {count}, but must be from 0 to {available}")
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
