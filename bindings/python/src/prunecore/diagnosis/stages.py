# SPDX-License-Identifier: Apache-2.0
"""The progress of one stage that takes many calls of the library."""

from __future__ import annotations

import time

from prunecore._native.progress import ProgressFunction

_STEPS = 1000


class Stage:
    """Adds up the progress of several calls: the caller is told of one stage, not of each call.

    Parameters
    ----------
    progress : callable or None
        Who is told, as of `Model.score`.
    name : str
        What the stage is called.
    work : float
        The work of all calls, in any unit.
    """

    def __init__(self, progress: ProgressFunction | None, name: str, work: float) -> None:
        self._progress, self._name = progress, name
        self._work, self._done = work, 0.0
        self._began = time.monotonic()

    def part(self, work: float) -> ProgressFunction | None:
        """What the next call is given as its progress; None where nobody is to be told."""
        start, self._done = self._done, self._done + work
        tell = self._progress
        if tell is None:
            return None

        def step(_stage: str, done: int, total: int, _seconds: float) -> object:
            share = (start + work * done / max(total, 1)) / self._work
            seconds = time.monotonic() - self._began
            return tell(self._name, min(_STEPS, round(_STEPS * share)), _STEPS, seconds)

        return step
