# SPDX-License-Identifier: Apache-2.0
"""How a search goes about it, and what it may remove."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.library import ffi, new_struct
from prunecore._native.names.tables import GRANULARITY, STRATEGY
from prunecore._native.numbers import checked_count, optional_count
from prunecore.errors import ArgumentError
from prunecore.importance.scores import Scores
from prunecore.masks.mask import Keep, Mask, as_keep, keep_pointer, sublayer_index, sublayer_indices
from prunecore.search.budget import SearchBudget
from prunecore.shapley.scores import ShapleyScores

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike

Protected = str | int | Iterable[str | int] | None
"""Sublayers that a search leaves alone: names such as "attn.0" and "block.11", or indices."""

ScoresLike = Scores | ShapleyScores | npt.ArrayLike | None
"""What says which units matter least."""

NO_EXCHANGES = -1
"""What C takes for none, 0 being its default."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """The options of a search: see `Search`."""

    strategy: str
    granularity: str
    budget: SearchBudget = field(default_factory=SearchBudget)
    protect: Protected = None
    start: MaskLike | None = None
    scores: ScoresLike = None
    metric: str | None = None
    candidates: int | None = None
    exchanges: int | None = None
    seed: int = 0
    offspring: int | None = None
    generations: int | None = None
    patience: int | None = None

    def struct(self, n_blocks: int) -> tuple[Any, list[Any]]:
        """The options for C, checked where C would take a 0 for the default.

        Returns
        -------
        options, alive
            The struct, and what must live as long as it is used.
        """
        options = new_struct("prune_search_options")
        options.strategy = STRATEGY.value(self.strategy)
        options.granularity = GRANULARITY.value(self.granularity)
        options.seed = checked_count("seed", self.seed, 0, 2**64 - 1)
        alive = self.budget.fill(options, n_blocks)
        start = as_keep(self.start, n_blocks)
        protected = protected_sublayers(self.protect, n_blocks)
        scores = self.score_table(n_blocks)
        options.start, options.n_start = keep_pointer(start)
        options.protect, options.n_protect = keep_pointer(protected)
        if scores is not None:
            options.scores = ffi.from_buffer("double[]", scores)
            options.n_scores = scores.size
        options.candidates = optional_count("candidates", self.candidates)
        if self.exchanges is not None:
            options.exchanges = checked_count("exchanges", self.exchanges, 0) or NO_EXCHANGES
        options.offspring = optional_count("offspring", self.offspring)
        options.generations = optional_count("generations", self.generations)
        options.patience = optional_count("patience", self.patience)
        return options, [*alive, start, protected, scores]

    def score_table(self, n_blocks: int) -> npt.NDArray[np.float64] | None:
        """The scores as numbers, in the order of the units; None if none are given."""
        if self.scores is None:
            return None
        if isinstance(self.scores, (Scores, ShapleyScores)):
            if self.scores.n_blocks != n_blocks:
                raise ArgumentError(
                    f"the scores are for {self.scores.n_blocks} blocks, but the model has "
                    f"{n_blocks}"
                )
            wanted = GRANULARITY.parse(self.granularity)
            if self.scores.granularity != wanted:
                raise ArgumentError(
                    f"the scores are of each {self.scores.granularity}, but the units of the "
                    f"search are of granularity {wanted}"
                )
            return np.ascontiguousarray(self.scores[self.scores.chosen_metric(self.metric)])
        try:
            return np.ascontiguousarray(np.asarray(self.scores, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"the scores are not numbers: {error}") from error

    def to_dict(self, n_blocks: int) -> dict[str, Any]:
        """What is given, for JSON: what the masks depend on besides model and data."""
        protected = protected_sublayers(self.protect, n_blocks)
        start = as_keep(self.start, n_blocks)
        scores = self.score_table(n_blocks)
        made: dict[str, Any] = {
            "strategy": STRATEGY.parse(self.strategy),
            "granularity": GRANULARITY.parse(self.granularity),
            "seed": int(self.seed),
            "budget": self.budget.to_dict(),
            "protected": [] if protected is None else Mask(1 - protected).removed,
            "start_removed": [] if start is None else Mask(start).removed,
            "candidates": self.candidates,
            "exchanges": self.exchanges,
            "offspring": self.offspring,
            "generations": self.generations,
            "patience": self.patience,
        }
        if scores is not None:
            made["scores_sha256"] = hashlib.sha256(scores.astype("<f8").tobytes()).hexdigest()
        return made


def protected_sublayers(protect: Protected, n_blocks: int) -> Keep | None:
    """One byte per sublayer, 1 = never removed; None if nothing is protected."""
    if protect is None:
        return None
    protected: Keep = np.zeros(2 * n_blocks, dtype=np.uint8)
    for each in [protect] if isinstance(protect, (str, int)) else protect:
        if isinstance(each, str):
            protected[sublayer_indices(each, n_blocks)] = 1
        else:
            protected[sublayer_index(each, n_blocks)] = 1
    return protected
