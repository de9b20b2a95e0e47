# SPDX-License-Identifier: Apache-2.0
"""Carries the progress of what runs in batches from C to Python and to its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prunecore._native.library import ffi
from prunecore._native.progress import Watch
from prunecore._native.run_file import RunFile


class BatchWatch:
    """The callback of a call in batches: saves, tells, and carries exceptions back.

    Parameters
    ----------
    kind : str
        C type of the callback, such as "prune_game_progress_fn".
    save : callable
        What the checkpoint is to hold now.
    found : callable
        Given what C reports, what `progress` is told.
    progress : callable or None
        Told after every batch; a true result, or an exception, stops the call.
    checkpoint : RunFile or None
        Where it is saved after every batch.
    inner : Watch
        The callback of the batches themselves, which may have failed, too.
    """

    def __init__(
        self,
        kind: str,
        save: Callable[[], bytes],
        found: Callable[[Any], Any],
        progress: Callable[[Any], object] | None,
        checkpoint: RunFile | None,
        inner: Watch,
    ) -> None:
        self._save = save
        self._found = found
        self._progress = progress
        self._checkpoint = checkpoint
        self._inner = inner
        self._failure: BaseException | None = None
        self.callback = ffi.callback(kind, self._step, error=1, onerror=self._keep)

    def _step(self, _user_data: Any, report: Any) -> int:
        if self._checkpoint is not None:
            self._checkpoint.save(self._save())
        if self._progress is None:
            return 0
        return 1 if self._progress(self._found(report)) else 0

    def _keep(self, _kind: Any, value: BaseException, traceback: Any) -> None:
        self._failure = value.with_traceback(traceback)

    def check(self, status: int) -> None:
        """Raises what stopped the call: a callback's exception, or else the status's."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._inner.check(status)
