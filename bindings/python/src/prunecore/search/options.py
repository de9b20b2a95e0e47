# SPDX-License-Identifier: Apache-2.0
"""How a search goes about it, and what it may remove."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native import options_generated
from prunecore._native.given import as_array
from prunecore._native.library import ffi
from prunecore._native.names.tables import GRANULARITY, Strategy
from prunecore._native.options_generated import SearchRunOptions
from prunecore.errors import ArgumentError
from prunecore.importance.scores import Scores
from prunecore.masks.mask import Keep, Mask, as_keep, keep_pointer, sublayer_index, sublayer_indices
from prunecore.measures.token_times import TokenTimes
from prunecore.shapley.scores import ShapleyScores

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike

Protected = str | int | Iterable[str | int] | None
"""Sublayers that a search leaves alone: names such as "attn.0" and "block.11", or indices."""

ScoresLike = Scores | ShapleyScores | npt.ArrayLike | None
"""What says which units matter least."""

__all__ = ["Protected", "ScoresLike", "SearchOptions", "SearchRunOptions", "protected_sublayers"]

BUDGET = (
    "remove",
    "remove_attention",
    "remove_feed_forward",
    "remove_parameters",
    "parameter_bytes",
    "kv_bytes",
    "prefill_ms",
    "decode_ms",
    "max_loss_increase",
    "max_damage",
)
"""The options that bound a search: what it is to remove, and what may be left."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions(options_generated.SearchOptions):
    """The options of a search: see `Search`."""

    ZEROS: ClassVar[frozenset[str]] = frozenset({"remove_attention", "remove_feed_forward"})

    strategy: Strategy | Literal["default"] = "greedy"
    times: TokenTimes | None = None
    protect: Protected = None
    start: MaskLike | None = None
    scores: ScoresLike = None
    metric: str | None = None

    def struct(self, n_blocks: int) -> tuple[Any, list[Any]]:
        """The options for C, checked where C would take a 0 for the default.

        Returns
        -------
        options, alive
            The struct, and what must live as long as it is used.
        """
        options = self.new()
        kinds = (self.remove_attention, self.remove_feed_forward)
        if kinds != (None, None) and not any(kinds):
            raise ArgumentError("remove_attention and remove_feed_forward remove nothing")
        start = as_keep(self.start, n_blocks)
        protected = protected_sublayers(self.protect, n_blocks)
        scores = self.score_table(n_blocks)
        options.start, options.n_start = keep_pointer(start)
        options.protect, options.n_protect = keep_pointer(protected)
        if scores is not None:
            options.scores = ffi.from_buffer("double[]", scores)
            options.n_scores = scores.size
        if self.times is None:
            return options, [start, protected, scores]
        if self.times.n_blocks != n_blocks:
            raise ArgumentError(
                f"the times are of {self.times.n_blocks} blocks, but the model has {n_blocks}"
            )
        times = self.times.table()
        options.times = ffi.from_buffer("prune_token_time[]", times)
        options.n_times = len(times)
        return options, [start, protected, scores, times]

    @property
    def needs_times(self) -> bool:
        """Whether a bound is one of milliseconds, and no times are given to count them by."""
        bounded = self.prefill_ms is not None or self.decode_ms is not None
        return bounded and self.times is None

    def budget(self) -> dict[str, Any]:
        """The bounds that are given, for JSON."""
        given = {name: getattr(self, name) for name in BUDGET if getattr(self, name) is not None}
        return given if self.times is None else {**given, "times": self.times.to_dict()}

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
        return np.ascontiguousarray(as_array("the scores", self.scores, np.float64))

    def record(self, n_blocks: int) -> dict[str, Any]:
        """What is given, for JSON: what the masks depend on besides model and data."""
        protected = protected_sublayers(self.protect, n_blocks)
        start = as_keep(self.start, n_blocks)
        scores = self.score_table(n_blocks)
        plain = {name: value for name, value in self.to_dict().items() if name not in BUDGET}
        made: dict[str, Any] = {
            name: plain.pop(name) for name in ("strategy", "granularity", "seed")
        }
        made["budget"] = self.budget()
        made["protected"] = [] if protected is None else Mask(1 - protected).removed
        made["start_removed"] = [] if start is None else Mask(start).removed
        made |= plain
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
