# SPDX-License-Identifier: Apache-2.0
"""The call that studies recovery: `study_recovery`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunecore._native.names.tables import GRANULARITY, Granularity, Kind, Objective, Start
from prunecore._native.numbers import checked_count
from prunecore._native.progress import ProgressFunction
from prunecore.data.verbs import verb
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Mask
from prunecore.recovery.options import TrainingProgress
from prunecore.studies.recovery_study import RecoveryPoint, RecoveryStudy

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.model import Model

STUDIED: tuple[Granularity, ...] = ("attention", "feed_forward", "block")
SCORING_SEQUENCES = 48
"""Sequences that leave-one-out losses are taken from at most: they need order, not digits."""

Step = Callable[[str], ProgressFunction | None]
"""Told what comes next; gives the progress function for it."""


@dataclass(frozen=True)
class RecoveryMethod:
    """A way to make adapters.

    Attributes
    ----------
    name : str
        What results call it.
    kind, objective, start
        As for `Model.recover`.
    """

    name: str
    kind: Kind
    objective: Objective
    start: Start = "closed_form"


METHODS: tuple[RecoveryMethod, ...] = (
    RecoveryMethod("bias", "bias", "closed_form"),
    RecoveryMethod("closed_form", "low_rank", "closed_form"),
    RecoveryMethod(name="mse_from_zero", kind="low_rank", objective="mse", start="zero"),
    RecoveryMethod("mse", "low_rank", "mse"),
    RecoveryMethod(name="ce_from_zero", kind="low_rank", objective="ce", start="zero"),
    RecoveryMethod("ce", "low_rank", "ce"),
    RecoveryMethod(name="kl_from_zero", kind="low_rank", objective="kl", start="zero"),
    RecoveryMethod("kl", "low_rank", "kl"),
)
"""Those that the study compares. Training starts from the closed form where the name does not say
otherwise."""


@verb
def study_recovery(
    model: Model,
    data: Data,
    held_out: Data,
    granularities: Sequence[str] = STUDIED,
    counts: Sequence[int] | None = None,
    *,
    methods: Sequence[RecoveryMethod] = METHODS,
    rank: int = 16,
    steps: int = 300,
    step_tokens: int = 2048,
    learning_rate: float | None = None,
    seed: int = 0,
    step: Step | None = None,
) -> RecoveryStudy:
    """Removes what matters least, and measures what adapters win back.

    Units go by their leave-one-out loss on the data, the least first.

    Parameters
    ----------
    model : Model
        The full model.
    data : Data
        What adapters learn from, a tenth of it being held out to choose ridge and best step by.
    held_out : Data
        Other text, to measure the loss on.
    granularities : sequence of str
        What to remove: any of attention, feed_forward, block, sublayer.
    counts : sequence of int, optional
        How many. Default: 1 to a third of the blocks.
    methods : sequence of RecoveryMethod
        Ways to make adapters.
    rank, steps, step_tokens, learning_rate, seed
        As for `Model.recover`.
    step : callable, optional
        Told what comes next; gives the progress function for it.
    """
    tell: Step = step or (lambda _label: None)
    names = [GRANULARITY.parse(granularity) for granularity in granularities]
    n_blocks = model.shape.n_blocks
    chosen = range(1, max(2, n_blocks // 3 + 1)) if counts is None else counts
    removals = [checked_count("counts", count, 1, n_blocks) for count in chosen]
    if not names or not removals or not methods:
        raise ArgumentError("there is nothing to study: give granularities, counts and methods")
    options: dict[str, Any] = {
        "rank": rank,
        "steps": steps,
        "step_tokens": step_tokens,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    every = -(-data.n_sequences // SCORING_SEQUENCES)
    scored = data.select(range(0, data.n_sequences, every))
    full = model.evaluate(held_out, Mask.all(n_blocks), progress=tell("full model")).loss
    points: list[RecoveryPoint] = []
    for name in names:
        metric = "leave_one_out_loss"
        scores = model.score(
            scored, metric, name, Mask.all(n_blocks), progress=tell(f"leave one out: {name}")
        )
        for count in removals:
            mask = scores.prune(count, metric)
            points += recover_in_each_way(
                model,
                data,
                held_out=held_out,
                mask=mask,
                removal=(name, count),
                full_loss=full,
                methods=methods,
                options=options,
                step=tell,
            )
    return RecoveryStudy(
        full,
        tuple(points),
        {
            "model": model.provenance,
            "data_sha256": data.digest,
            "data_tokens": data.n_tokens,
            "held_out_sha256": held_out.digest,
            "held_out_tokens": held_out.n_tokens,
            **options,
        },
    )


class _Steps:
    """Tells a training as steps, also while one is under way."""

    def __init__(self, progress: ProgressFunction | None) -> None:
        self._progress = progress
        self._last: TrainingProgress | None = None

    def after(self, told: TrainingProgress) -> object:
        """Told after every step."""
        self._last = told
        return self.within("train", told.step, told.steps, told.seconds)

    def within(self, stage: str, done: int, total: int, seconds: float) -> object:
        """Told by the closed form, and within steps."""
        if self._progress is None:
            return False
        if self._last is not None:
            stage, done, total = "train", self._last.step, self._last.steps
        return self._progress(stage, done, total, seconds)


def recover_in_each_way(
    model: Model,
    data: Data,
    held_out: Data,
    mask: Mask,
    removal: tuple[str, int],
    full_loss: float,
    methods: Sequence[RecoveryMethod],
    options: dict[str, Any],
    step: Step,
) -> list[RecoveryPoint]:
    """The points of one removal: the pruned model, and each method.

    Parameters
    ----------
    removal : tuple of str and int
        Granularity and number, for the record.
    full_loss : float
        Of the full model on the held-out text.
    options : dict
        Of `Model.recover`, for every method.
    """
    granularity, count = removal
    label = f"{count} of {granularity}"
    pruned = model.evaluate(held_out, mask, progress=step(f"{label}: pruned")).loss
    lost = pruned - full_loss
    removed = tuple(mask.removed)
    points = [
        RecoveryPoint(
            granularity=granularity,
            n_removed=count,
            removed=removed,
            method="pruned",
            loss=pruned,
            share=0.0,
            parameters=0,
            tokens=0,
            seconds=0.0,
        )
    ]
    for method in methods:
        watch = _Steps(step(f"{label}: {method.name}"))
        with model.recover(
            mask,
            data,
            method.kind,
            objective=method.objective,
            start=method.start,
            progress=watch.within,
            on_step=watch.after,
            **options,
        ) as adapters:
            summary = adapters.summary
            loss = model.evaluate(held_out, adapters=adapters).loss
        points.append(
            RecoveryPoint(
                granularity=granularity,
                n_removed=count,
                removed=removed,
                method=method.name,
                loss=loss,
                # Where pruning lost nothing there is nothing to win back.
                share=(pruned - loss) / lost if lost > 0 else 0.0,
                parameters=summary.parameters,
                tokens=summary.tokens,
                seconds=summary.seconds,
            )
        )
    return points
