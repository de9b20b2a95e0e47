# SPDX-License-Identifier: Apache-2.0
"""How adapters are made, and what is told of it on the way."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from prunecore._native import options_generated
from prunecore._native.library import ffi
from prunecore._native.names.tables import Kind
from prunecore._native.paths import as_path
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.whole_file import check_place, make_parents

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.recovery.adapters import Adapters


@dataclass(frozen=True)
class TrainingProgress:
    """How a training stands, after a step.

    Attributes
    ----------
    step, steps : int
        Steps done, and in all.
    loss : float
        Objective of the last step.
    held_out_loss, best_loss : float
        Objective on the held-out tokens when last looked at, and the lowest so far.
    learning_rate : float
        Of the last step.
    tokens_per_second : float
        Trained on since the call began.
    seconds : float
        Since the call began.
    """

    step: int
    steps: int
    loss: float
    held_out_loss: float
    best_loss: float
    learning_rate: float
    tokens_per_second: float
    seconds: float


StepFunction = Callable[[TrainingProgress], object]
"""Told of every training step; a true result stops the training."""


class TrainingWatch(Watch):
    """The callbacks of one recovery: progress of the closed form, and steps of training."""

    def __init__(self, progress: ProgressFunction | None, on_step: StepFunction | None) -> None:
        super().__init__(progress)
        self._on_step = on_step
        self.step_callback = ffi.callback(
            "prune_training_progress_fn", self._told, error=1, onerror=self._keep
        )

    def _told(self, _user_data: Any, report: Any) -> int:
        if self._on_step is None:
            return 0
        found = TrainingProgress(
            step=report.step,
            steps=report.steps,
            loss=report.loss,
            held_out_loss=report.held_out_loss,
            best_loss=report.best_loss,
            learning_rate=report.learning_rate,
            tokens_per_second=report.tokens_per_second,
            seconds=report.seconds,
        )
        return 1 if self._on_step(found) else 0


@dataclass(frozen=True, kw_only=True)
class RecoverOptions(options_generated.RecoverOptions):
    """The options of a recovery: see `Model.recover`."""

    kind: Kind | Literal["default"] = "low_rank"
    held_out: Data | None = None
    initial: Adapters | None = None
    checkpoint: str | os.PathLike[str] | None = None

    def struct(self) -> Any:
        """The options for C, checked where C would take a 0 for the default.

        It borrows `held_out`, `initial` and `checkpoint_bytes`: they must outlive its use.
        """
        options = self.new()
        if self.held_out is not None:
            options.held_out = self.held_out.handle
        if self.initial is not None:
            options.initial = self.initial.handle
        return options

    def checkpoint_bytes(self) -> Any:
        """The checkpoint's path for C; NULL for none. Raises `FileError` if none can be there."""
        return checkpoint_path(self.checkpoint)


def checkpoint_path(checkpoint: str | os.PathLike[str] | None) -> Any:
    """A checkpoint's path for C; NULL for none. Raises `FileError` if none can be there."""
    if checkpoint is None:
        return ffi.NULL
    file = as_path(checkpoint, "the checkpoint's path")
    check_place(file)
    make_parents(file)
    return ffi.new("char[]", os.fsencode(file))
