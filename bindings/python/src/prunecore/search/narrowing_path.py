# SPDX-License-Identifier: Apache-2.0
"""The way of a search that narrows feed-forwards, and what it ends with."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from prunecore.errors import Cancelled
from prunecore.masks.mask import Mask
from prunecore.search.narrowed_model import Narrowed, NarrowingRun
from prunecore.search.result import SearchResult
from prunecore.search.state import SearchState, SearchStep
from prunecore.search.watch import SearchProgress, SearchProgressFunction


class NarrowingPath:
    """The way of a search, and what is told of it."""

    def __init__(
        self, run: NarrowingRun, strategy: str, progress: SearchProgressFunction | None
    ) -> None:
        self._run, self._strategy, self._progress = run, strategy, progress
        self._steps: list[SearchStep] = []
        self._began = time.monotonic()

    def add(self, state: Narrowed, name: str | None, loss: float) -> None:
        """A step: what is left, what it is called, and the loss after it."""
        cost = self._run.cost(state)
        self._steps.append(
            SearchStep(
                mask=Mask(state.keep),
                unit=name,
                n_removed=state.n_removed,
                damage=loss,
                parameters=cost.parameters,
                parameter_bytes=cost.parameter_bytes,
                kv_bytes=cost.kv_bytes,
                told=self._run.told,
            )
        )
        if self._progress is None:
            return
        standing = self._state(state, loss, done=False)
        seconds = time.monotonic() - self._began
        if self._progress(SearchProgress(self._steps[-1].mask, standing, seconds)):
            raise Cancelled("the search was cancelled")

    def restart(self, state: Narrowed, loss: float) -> None:
        """The way of another search, of which the end alone is known."""
        del self._steps[1:]
        self.add(state, "2ssp", loss)

    def result(self, state: Narrowed, loss: float, provenance: Mapping[str, Any]) -> SearchResult:
        """What was found, with the loss on all data."""
        found = self._state(state, loss, done=True)
        record = {**provenance, "units_removed": state.n_removed, "damage": loss, "met": True}
        mask = self._run.mask(state, record)
        return SearchResult(mask=mask, path=tuple(self._steps), state=found, provenance=record)

    def _state(self, state: Narrowed, loss: float, *, done: bool) -> SearchState:
        run = self._run
        return SearchState(
            strategy=self._strategy,
            done=done,
            met=done,
            n_blocks=run.model.shape.n_blocks,
            asked=run.told,
            told=run.told,
            removed=state.n_removed,
            steps=len(self._steps),
            start_damage=self._steps[0].damage if self._steps else math.nan,
            damage=loss,
            sublayers_computed=run.sublayers_computed,
            sublayers_naive=run.sublayers_naive,
        )
