# SPDX-License-Identifier: Apache-2.0
"""Carries progress from C to Python, and stops from Python to C."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prunecore._native import failures
from prunecore._native.library import _check, ffi, text

ProgressFunction = Callable[[str, int, int, float], object]
"""Called as `progress(stage, done, total, seconds)`; a true result stops the call."""


class Watch:
    """The progress callback of one call, and what stopped it. Made right before the call.

    It is handed to every long call, with or without a function to tell: Python runs signal handlers
    between its own instructions only, so that without it Ctrl-C would be seen no sooner than the
    call's end.

    Parameters
    ----------
    progress : callable or None
        Told of progress as `progress(stage, done, total, seconds)`. A true result stops the call
        with `Cancelled`; an exception stops it, too, and reaches the caller unchanged.
    """

    def __init__(self, progress: ProgressFunction | None) -> None:
        self._progress = progress
        self._failure: BaseException | None = None
        failures.forget()
        self.callback = ffi.callback("prune_progress_fn", self._step, error=1, onerror=self._keep)

    def _step(self, _user_data: Any, report: Any) -> int:
        if self._progress is None:
            return 0
        stop = self._progress(text(report.stage), report.done, report.total, report.seconds)
        return 1 if stop else 0

    def _keep(self, _kind: Any, value: BaseException, traceback: Any) -> None:
        # C cannot carry an exception: the callback returns 1, which stops the call, and check()
        # raises it.
        self._failure = value.with_traceback(traceback)

    def check(self, status: int) -> None:
        """Raises what stopped the call: a callback's exception, or else the status's.

        The exception of a model's host, too. It is raised even if the call came to its end: then
        it is the user's interrupt, which came while a state was released.
        """
        failure, self._failure = self._failure, None
        kept = failures.take()
        if failure is not None:
            raise failure
        if kept is not None:
            raise kept
        _check(status)
