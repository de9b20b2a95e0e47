# SPDX-License-Identifier: Apache-2.0
"""Shows on a terminal how a search goes."""

from __future__ import annotations

import math

from prunecore.cli.line import Line
from prunecore.search.watch import SearchProgress


class SearchBar(Line):
    """A line on standard error: masks told, units removed, damage, the batch under way.

    Give `search` to `Model.search` as `progress`, and `batch` as `batch_progress`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told = 0
        self._found = "nothing removed yet"

    def search(self, found: SearchProgress) -> bool:
        """Told after every batch."""
        state = found.state
        self._told = state.told
        damage = f", damage {state.damage:.4f}" if math.isfinite(state.damage) else ""
        self._found = f"{state.removed} removed{damage}"
        self._tell("batch", 0.0)
        return False

    def batch(self, stage: str, done: int, total: int, _seconds: float) -> bool:
        """Told while masks are evaluated, units are scored, or times are measured."""
        self._tell(stage, done / max(total, 1))
        return False

    def _tell(self, stage: str, share: float) -> None:
        self._show(f"{self._told} masks, {self._found}, {stage} {share:.0%}", self._told, None)
