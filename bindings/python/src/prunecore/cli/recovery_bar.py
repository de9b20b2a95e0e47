# SPDX-License-Identifier: Apache-2.0
"""Shows on a terminal how a training goes."""

from __future__ import annotations

from rich.progress import BarColumn, ProgressColumn, TimeRemainingColumn

from prunecore.cli.line import Bar
from prunecore.recovery.options import TrainingProgress


class RecoveryBar(Bar):
    """A line on standard error: that of `Bar`, and for training step, losses and tokens per second.

    It is shown on a terminal only. Use it in a `with` block; give it to `Model.recover` as
    `progress`, and `step` as `on_step`.
    """

    _training = False

    def __call__(self, stage: str, done: int, total: int, seconds: float) -> bool:
        # Within a step of training there is nothing to show: the step itself is told.
        return False if self._training else super().__call__(stage, done, total, seconds)

    def step(self, told: TrainingProgress) -> bool:
        """Told after every step."""
        if not self._training:
            self._training = True
            self._stop()
        self._show_now(
            f"step {told.step} of {told.steps}, loss {told.loss:.4f}, held out "
            f"{told.held_out_loss:.4f} (best {told.best_loss:.4f}), "
            f"{told.tokens_per_second:,.0f} tokens/s",
            told.step,
            told.steps,
        )
        return False

    def _columns(self) -> list[ProgressColumn]:
        if not self._training:
            return super()._columns()
        return [BarColumn(bar_width=16), TimeRemainingColumn()]
