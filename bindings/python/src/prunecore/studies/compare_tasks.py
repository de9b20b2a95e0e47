# SPDX-License-Identifier: Apache-2.0
"""The call that compares tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from prunecore._native.given import listed, mapped
from prunecore._native.library import __version__
from prunecore._native.names.metric_sets import parse_metrics
from prunecore._native.names.tables import GRANULARITY, KIND, Granularity, Kind
from prunecore._native.numbers import checked_count
from prunecore._native.progress import ProgressFunction
from prunecore.data.data import Data
from prunecore.data.verbs import verb
from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.importance.scores import Scores
from prunecore.masks.mask import Mask
from prunecore.studies.task_comparison import TaskComparison
from prunecore.studies.task_orders import COMBINATIONS, comparable, simplex_grid
from prunecore.studies.task_sufficiency import task_sufficiency

if TYPE_CHECKING:
    from prunecore.model import Model

TaskData = Data | tuple[Data, Data]


@verb
def compare_tasks(
    model: Model,
    tasks: Mapping[str, TaskData],
    granularity: str = "sublayer",
    metric: str = "leave_one_out_loss",
    *,
    remove: int | None = None,
    seed: int = 0,
    calibration: int | None = None,
    held_out: int | None = None,
    combine: Literal["rank", "importance"] = "rank",
    steps: int | None = None,
    budget: int | None = None,
    sufficiency: bool | None = None,
    adapters: Kind | None = "bias",
    directions: int = 16,
    progress: ProgressFunction | None = None,
) -> TaskComparison:
    """Compares tasks by what a model needs for them.

    Importance is measured on the calibration part of each task, and all losses on its held-out
    part. Definitions: docs/tasks.md.

    Parameters
    ----------
    model : Model
        Its mask is the starting point.
    tasks : mapping of str to Data, or to a pair of Data
        Two tasks or more. Of one data set, the first sequences are for calibration and the last
        ones are held out; of a pair, the first data set is for calibration.
    granularity : {"sublayer", "block", "attention", "feed_forward"}
        What is removed as one unit.
    metric : str
        A metric of `Model.score`, or "shapley": Shapley values of the loss, for a model whose mask
        keeps everything.
    remove : int, optional
        Units removed at most. Default: half of those that the model's mask keeps.
    seed : int
        Of the Shapley values; other metrics draw nothing.
    calibration, held_out : int, optional
        Sequences (or questions) of each part, where one data set is given. Default: half of them,
        the one in the middle of an odd number left out.
    combine : {"rank", "importance"}
        What the combined orders add up: the tasks' ranks of the units, or their importances, each
        over its mean absolute value.
    steps : int, optional
        The tasks' weights are multiples of 1 / steps. Default: as many steps as give 100 weightings
        at most, 20 at most.
    budget : int, optional
        Coalitions asked for by each Shapley estimate at most. Default: that of `Model.shapley`.
    sufficiency : bool, optional
        Whether to compare what the tasks' pruned models represent: Gaussian information
        sufficiency, with `remove` units removed. Default: where the model gives its hidden states.
    adapters : {"bias", "low_rank", "linear"}, optional
        What stands, for the sufficiency, in the place of what is removed: adapters in closed form,
        fitted on the task's calibration part. None = nothing.
    directions : int
        Of the sufficiency: principal directions of each task's hidden states, at most; fewer where
        the held-out parts are small.
    progress : callable, optional
        As for `Model.score`.

    Raises
    ------
    ArgumentError
        There are fewer than two tasks, or a task has too few sequences, or another argument is not
        as said above.
    UnsupportedError
        The sufficiency is asked for, and the model does not give its hidden states.
    """
    parts = {
        name: _parts(name, data, calibration, held_out)
        for name, data in mapped("tasks", tasks).items()
    }
    if len(parts) < 2:
        raise ArgumentError(f"at least 2 tasks are needed to compare them, but {len(parts)} given")
    if combine not in COMBINATIONS:
        raise ArgumentError(f"combine is '{combine}', but must be {' or '.join(COMBINATIONS)}")
    unit = GRANULARITY.parse(granularity)
    name = _metric(metric)
    kind = None if adapters is None else KIND.parse(adapters, "adapters")
    width = checked_count("directions", directions)
    weights = simplex_grid(len(parts), steps)
    scores = tuple(
        _importance(
            model, data, granularity=unit, metric=name, seed=seed, budget=budget, progress=progress
        )
        for data, _ in parts.values()
    )
    available = len(scores[0].order())
    most = available // 2 if remove is None else remove
    if not 0 <= most <= available:
        raise ArgumentError(f"remove is {most}, but must be from 0 to {available}")

    single = [_masks(each, most) for each in scores]
    shared = np.array([comparable(each[name], combine) for each in scores])
    start = scores[0].mask
    combined = [
        _masks(Scores({"combined": row}, unit, start.n_blocks, start), most)
        for row in weights @ shared
    ]
    wanted = list(dict.fromkeys(mask for masks in (*single, *combined) for mask in masks))
    # All masks in one call, so that what they share is computed once.
    losses = [
        {
            mask: evaluation.loss
            for mask, evaluation in zip(
                wanted, model.evaluate_masks(data, wanted, progress=progress), strict=True
            )
        }
        for _, data in parts.values()
    ]
    information = None
    if sufficiency is not False:
        try:
            information = task_sufficiency(
                model,
                [masks[most] for masks in single],
                list(parts.values()),
                n_removed=most,
                adapters=kind,
                directions=width,
                progress=progress,
            )
        except UnsupportedError:
            if sufficiency:
                raise
    return TaskComparison(
        tasks=tuple(parts),
        metric=name,
        granularity=unit,
        combine=combine,
        scores=scores,
        losses=_table(single, losses),
        weights=weights,
        combined_masks=tuple(zip(*combined, strict=True)),
        combined_losses=_table(combined, losses),
        provenance={
            "library": f"prunecore {__version__}",
            "model": model.provenance,
            "mask": start.removed,
            "seed": seed,
            "calibration": {task: _described(data) for task, (data, _) in parts.items()},
            "held_out": {task: _described(data) for task, (_, data) in parts.items()},
        },
        information=information,
    )


def _metric(metric: str) -> str:
    if metric == "shapley":
        return metric
    names = parse_metrics(metric)
    if len(names) > 1:
        raise ArgumentError(f"tasks are compared by one metric, but '{metric}' is {len(names)}")
    return names[0]


def _parts(
    name: str, data: TaskData, calibration: int | None, held_out: int | None
) -> tuple[Data, Data]:
    """Calibration and held-out part of a task; they have no sequence in common."""
    if not isinstance(data, Data):
        pair = tuple(listed(f"task {name}", data))
        if len(pair) != 2 or not all(isinstance(part, Data) for part in pair):
            raise ArgumentError(f"task {name} is neither data nor a pair of them")
        return pair[0], pair[1]
    half = max(len(data) // 2, 1)
    first = half if calibration is None else calibration
    last = half if held_out is None else held_out
    if first < 1 or last < 1:
        raise ArgumentError(
            f"{first} sequences to calibrate on and {last} held out, but 1 of each is needed"
        )
    if first + last > len(data):
        raise ArgumentError(
            f"task {name} has too few sequences: {len(data)}, "
            f"for {first} to calibrate on and {last} held out"
        )
    return data[:first], data[len(data) - last :]


def _importance(
    model: Model,
    data: Data,
    granularity: Granularity,
    metric: str,
    seed: int,
    budget: int | None,
    progress: ProgressFunction | None,
) -> Scores:
    if metric != "shapley":
        return model.score(data, metric, granularity, progress=progress)
    if model.mask.removed:
        raise ArgumentError(
            "Shapley values are those of the whole model, but its mask removes "
            f"{', '.join(model.mask.removed)}: set it to None, or choose another metric"
        )
    found = model.shapley(
        data, granularity=granularity, seed=seed, budget=budget, batch_progress=progress
    )
    return Scores(
        {"shapley": found.values}, granularity, model.shape.n_blocks, provenance=found.provenance
    )


def _masks(scores: Scores, most: int) -> list[Mask]:
    return [scores.prune(count) for count in range(most + 1)]


def _table(rows: Sequence[Sequence[Mask]], losses: Sequence[Mapping[Mask, float]]) -> Any:
    """Entry [k, r, t]: loss of task t under mask k of row r."""
    return np.array(
        [
            [[task[masks[count]] for task in losses] for masks in rows]
            for count in range(len(rows[0]))
        ]
    )


def _described(data: Data) -> dict[str, Any]:
    return {"data_sha256": data.digest, "n_sequences": len(data), "n_tokens": data.n_tokens}
