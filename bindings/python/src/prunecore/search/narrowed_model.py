# SPDX-License-Identifier: Apache-2.0
"""A model whose feed-forwards become narrower, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.progress import ProgressFunction
from prunecore.importance.neuron_scores import NeuronScores
from prunecore.masks.mask import Keep, Mask
from prunecore.measures.damages import damages
from prunecore.shape import Cost

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.opened import OpenModel


@dataclass(frozen=True)
class Narrowed:
    """What is left of a model: sublayers that stay, and widths of their feed-forwards.

    Attributes
    ----------
    keep : array of 0 and 1
        The sublayers.
    widths : tuple of int
        By block; that of the model where it is not narrower.
    metric : str
        Score by which neurons stay.
    """

    keep: Keep
    widths: tuple[int, ...]
    metric: str

    def without(self, sublayer: int) -> Narrowed:
        """The same without a sublayer."""
        keep = self.keep.copy()
        keep[sublayer] = 0
        return replace(self, keep=keep)

    @property
    def n_removed(self) -> int:
        """Sublayers that are gone."""
        return int(np.count_nonzero(self.keep == 0))


def present(model: OpenModel) -> Keep:
    """The sublayers that a model has, whatever its mask says."""
    n_blocks = model.shape.n_blocks
    keep: Keep = Mask.remove(model.shape.absent, n_blocks).keep.copy()
    return keep


class NarrowingRun:
    """What the searches share: the model, scores of its neurons, and what evaluating took.

    Parameters
    ----------
    model : OpenModel
        As it was.
    scores : NeuronScores
        Of all its feed-forwards.
    metric : str
        Which score decides which neurons stay, unless a state has another.
    group : int
        Neurons that stay or go together.
    batch_tokens : int or None
        As for `Model.damages`.
    progress : callable or None
        Told while masks are evaluated.
    """

    def __init__(
        self,
        model: OpenModel,
        scores: NeuronScores,
        metric: str,
        group: int,
        batch_tokens: int | None,
        progress: ProgressFunction | None,
    ) -> None:
        self.model, self.scores = model, scores
        self.metric, self.group = metric, group
        self._options: dict[str, Any] = {"batch_tokens": batch_tokens, "progress": progress}
        self.told = self.sublayers_computed = self.sublayers_naive = 0

    def whole(self) -> Narrowed:
        """The model as it is."""
        return Narrowed(present(self.model), self.scores.widths, self.metric)

    def edits(self, state: Narrowed) -> list[dict[str, Any]]:
        """The edit that narrows the feed-forwards that stay; none where all keep their width."""
        widths = {
            block: width
            for block, width in enumerate(state.widths)
            if state.keep[2 * block + 1] and 0 < width < self.scores.widths[block]
        }
        kept = self.scores.keep(widths, state.metric, self.group)
        if not kept:
            return []
        return [
            {"kind": "narrow", "feed_forward": {str(block): own for block, own in kept.items()}}
        ]

    def mask(self, state: Narrowed, provenance: Mapping[str, Any]) -> Mask:
        """What is left as a mask with edits."""
        return Mask(state.keep, provenance, [*self.model.edits, *self.edits(state)])

    @contextmanager
    def opened(self, state: Narrowed) -> Iterator[OpenModel]:
        """The model with narrower feed-forwards; what is removed is left to masks."""
        edits = self.edits(state)
        if not edits:
            yield self.model
            return
        with self.model._edited(edits) as narrowed:
            yield narrowed

    def losses(self, state: Narrowed, keeps: Sequence[Keep], data: Data) -> npt.NDArray[np.float64]:
        """The loss of the narrowed model under several masks."""
        with self.opened(state) as narrowed:
            found = damages(narrowed, data, np.stack(keeps), "loss", **self._options)
        self.told += len(keeps)
        self.sublayers_computed += found.report.sublayers_computed
        self.sublayers_naive += found.report.sublayers_naive
        return found.values

    def loss(self, state: Narrowed, data: Data) -> float:
        """The loss of what is left."""
        return float(self.losses(state, [state.keep], data)[0])

    def cost(self, state: Narrowed) -> Cost:
        """Parameters and bytes of what is left."""
        with self.opened(state) as narrowed:
            return narrowed.cost(state.keep)
