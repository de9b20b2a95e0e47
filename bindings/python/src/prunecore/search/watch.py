# SPDX-License-Identifier: Apache-2.0
"""What is told of a search that a model runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prunecore._native.batch_watch import BatchWatch
from prunecore._native.progress import Watch
from prunecore._native.run_file import RunFile
from prunecore.masks.mask import Mask
from prunecore.search.ask_tell import Search
from prunecore.search.state import SearchState


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


def watch_search(
    progress: SearchProgressFunction | None,
    search: Search,
    checkpoint: RunFile | None,
    inner: Watch,
) -> BatchWatch:
    """The callback of a search: see `BatchWatch`."""
    began = time.monotonic()

    def found(_search: Any) -> SearchProgress:
        return SearchProgress(search.mask, search.state, time.monotonic() - began)

    return BatchWatch(
        "prune_search_progress_fn",
        search.save,
        found=found,
        progress=progress,
        checkpoint=checkpoint,
        inner=inner,
    )
