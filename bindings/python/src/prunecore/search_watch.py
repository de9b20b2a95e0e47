# SPDX-License-Identifier: Apache-2.0
"""Carries the progress of a search from C to Python and to its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prunecore._library import ffi
from prunecore._progress import Watch
from prunecore.checkpoint import Checkpoint
from prunecore.mask import Mask
from prunecore.search import Search
from prunecore.search_state import SearchState


@dataclass(frozen=True)
class SearchProgress:
    """How a search of a model stands after a batch of masks.

    Attributes
    ----------
    mask : Mask
        The mask that it would choose now.
    state : SearchState
        Where the search stands.
    seconds : float
        Since the call began.
    """

    mask: Mask
    state: SearchState
    seconds: float


SearchProgressFunction = Callable[[SearchProgress], object]
"""Called as `progress(found)`; a true result stops the search."""


class SearchWatch:
    """The callback of a search: saves it, tells of it, and carries exceptions back.

    Parameters
    ----------
    progress : callable or None
        Told of the search after every batch.
    search : Search
        The search that is run.
    checkpoint : Checkpoint or None
        Where it is saved after every batch.
    inner : Watch
        The callback of the batches, which may have failed, too.
    """

    def __init__(
        self,
        progress: SearchProgressFunction | None,
        search: Search,
        checkpoint: Checkpoint | None,
        inner: Watch,
    ) -> None:
        self._progress = progress
        self._search = search
        self._checkpoint = checkpoint
        self._inner = inner
        self._began = time.monotonic()
        self._failure: BaseException | None = None
        self.callback = ffi.callback(
            "prune_search_progress_fn", self._step, error=1, onerror=self._keep
        )

    def _step(self, _user_data: Any, _search: Any) -> int:
        if self._checkpoint is not None:
            self._checkpoint.save(self._search.save())
        if self._progress is None:
            return 0
        found = SearchProgress(
            self._search.mask, self._search.state, time.monotonic() - self._began
        )
        return 1 if self._progress(found) else 0

    def _keep(self, _kind: Any, value: BaseException, traceback: Any) -> None:
        self._failure = value.with_traceback(traceback)

    def check(self, status: int) -> None:
        """Raises what stopped the search: a callback's exception, or else the status's."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._inner.check(status)
