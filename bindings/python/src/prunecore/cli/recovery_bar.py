# SPDX-License-Identifier: Apache-2.0
"""Shows on a terminal how a training goes."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from prunecore.cli.output import Bar
from prunecore.recovery.options import TrainingProgress


class RecoveryBar(Bar):
    """A line on standard error: that of `Bar`, and for training step, losses and tokens per second.

    It is shown on a terminal only. Use it in a `with` block; give it to `Model.recover` as
    `progress`, and `step` as `on_step`.
    """

    def step(self, told: TrainingProgress) -> bool:
        """Told after every step."""
        if not self._wanted:
            return False
        if self._progress is None or not self._training:
            if self._progress is not None:
                self._progress.stop()
            self._training = True
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.add_task("", total=told.steps)
            self._progress.start()
        self._progress.update(
            self._progress.task_ids[0],
            description=(
                f"step {told.step} of {told.steps}, loss {told.loss:.4f}, held out "
                f"{told.held_out_loss:.4f} (best {told.best_loss:.4f}), "
                f"{told.tokens_per_second:,.0f} tokens/s"
            ),
            completed=told.step,
        )
        return False

    _training = False
