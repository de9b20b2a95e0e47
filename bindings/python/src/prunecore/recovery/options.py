# SPDX-License-Identifier: Apache-2.0
"""How adapters are made, and what is told of it on the way."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from prunecore._native.library import ffi, new_struct
from prunecore._native.names.tables import INPUT, KIND, OBJECTIVE, SLOT, START, STREAM
from prunecore._native.numbers import checked_count, checked_positive, optional_count
from prunecore._native.progress import ProgressFunction, Watch
from prunecore.errors import ArgumentError
from prunecore.measures.options import checked_batch_tokens

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
class RecoverOptions:
    """The options of a recovery: see `Model.recover`."""

    kind: str = "low_rank"
    rank: int | Literal["auto"] = 16
    objective: str = "closed_form"
    start: str = "closed_form"
    stream: str = "recovered"
    input: str = "normed"
    block_slot: str = "attention"
    ridge: float | None = None
    held_out: Data | None = None
    held_out_share: float | None = None
    seed: int = 0
    initial: Adapters | None = None
    steps: int | None = None
    step_tokens: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    warmup_steps: int | None = None
    clip_norm: float | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: int | None = None
    batch_tokens: int | None = None
    memory_budget: int | None = None

    def struct(self) -> Any:
        """The options for C, checked where C would take a 0 for the default.

        It borrows `held_out`, `initial` and `checkpoint_bytes`: they must outlive its use.
        """
        options = new_struct("prune_recover_options")
        for choice in (KIND, OBJECTIVE, INPUT, STREAM, SLOT, START):
            setattr(options, choice.what, choice.value(getattr(self, choice.what)))
        options.rank = -1 if self.rank == "auto" else checked_count("rank", self.rank)
        for name in ("ridge", "learning_rate", "weight_decay"):
            setattr(options, name, _optional_positive(name, getattr(self, name)))
        options.held_out_share = _optional_positive("held_out_share", self.held_out_share, 1.0)
        for name in (
            "memory_budget",
            "steps",
            "step_tokens",
            "warmup_steps",
            "evaluate_every",
            "patience",
            "checkpoint_every",
        ):
            setattr(options, name, optional_count(name, getattr(self, name)))
        # No bound is infinite here and -1 in C.
        unbounded = self.clip_norm is not None and self.clip_norm == math.inf
        options.clip_norm = -1.0 if unbounded else _optional_positive("clip_norm", self.clip_norm)
        options.seed = checked_count("seed", self.seed, 0, 2**64 - 1)
        options.batch_tokens = checked_batch_tokens(self.batch_tokens)
        if self.held_out is not None:
            options.held_out = self.held_out.handle
        if self.initial is not None:
            options.initial = self.initial.handle
        return options

    def checkpoint_bytes(self) -> Any:
        """The checkpoint's path for C; NULL for none."""
        if self.checkpoint is None:
            return ffi.NULL
        name = os.fsencode(self.checkpoint)
        if not name or b"\0" in name:
            raise ArgumentError("the checkpoint's path is empty or holds a NUL character")
        return ffi.new("char[]", name)


def _optional_positive(name: str, value: float | None, below: float = math.inf) -> float:
    """A number above 0; 0 for None."""
    return 0.0 if value is None else checked_positive(name, value, below)
