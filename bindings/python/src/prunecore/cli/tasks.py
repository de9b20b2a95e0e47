# SPDX-License-Identifier: Apache-2.0
"""The command `tasks`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from rich.console import RenderableType
from rich.table import Table

from prunecore._native.names.tables import GRANULARITIES
from prunecore.cli.flags import expanded
from prunecore.cli.line import Bar
from prunecore.cli.options import (
    LengthOption,
    Machine,
    ModelArgument,
    OutFolderOption,
    read_data,
)
from prunecore.cli.output import table, titled
from prunecore.cli.results import PICTURES, Results
from prunecore.errors import ArgumentError
from prunecore.plots.style import words
from prunecore.studies.compare_tasks import compare_tasks
from prunecore.studies.task_comparison import TaskComparison

TasksOption = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="NAME=FILE",
        help="Name of a task, and its text (.txt; .jsonl with a field text) or token ids (.npy). "
        "Give it once for each task; the same name again adds a file to the task.",
    ),
]
Kind = Literal["spearman", "sufficiency", "damage", "pareto"]
KINDS: tuple[Kind, ...] = ("spearman", "sufficiency", "damage", "pareto")
"""Pictures; that of the sufficiency only where it was measured."""
MOST_ROWS = 12
"""Compromises that the table shows; the JSON file holds all of them."""


@expanded
def tasks(
    model: ModelArgument,
    *,
    data: TasksOption,
    out: OutFolderOption,
    metric: Annotated[
        str,
        typer.Option(
            "--metric", metavar="NAME", help="Metric of the scores: one of `score`, or shapley."
        ),
    ] = "leave_one_out_loss",
    granularity: Annotated[
        str,
        typer.Option(
            "--granularity",
            metavar="G",
            help=f"What counts as one unit: {', '.join(GRANULARITIES)}.",
        ),
    ] = "sublayer",
    remove: Annotated[
        int | None,
        typer.Option(
            "--remove", metavar="N", help="Largest number of units removed. Default: half of them."
        ),
    ] = None,
    calibration: Annotated[
        int,
        typer.Option(
            "--calibration",
            metavar="N",
            help="Number of sequences of each task that units are scored on.",
        ),
    ] = 16,
    held_out: Annotated[
        int,
        typer.Option(
            "--held-out",
            metavar="N",
            help="Number of other sequences, the last ones, that losses are measured on.",
        ),
    ] = 16,
    combine: Annotated[
        str,
        typer.Option(
            "--combine",
            metavar="WHAT",
            help="What is added up over the tasks to order the units: rank or importance.",
        ),
    ] = "rank",
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            metavar="N",
            help="Resolution of the weights of tasks: they are multiples of 1 / N.",
        ),
    ] = None,
    adapters: Annotated[
        str,
        typer.Option(
            "--adapters",
            metavar="KIND",
            help="Of the information sufficiency: what stands in the place of what is removed: "
            "bias, low_rank, linear, or none.",
        ),
    ] = "bias",
    directions: Annotated[
        int,
        typer.Option(
            "--directions",
            metavar="N",
            help="Of the information sufficiency: principal directions of each task's hidden "
            "states, at most.",
        ),
    ] = 16,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget", metavar="N", help="With shapley: largest number of coalitions to evaluate."
        ),
    ] = None,
    sequence_length: LengthOption = 256,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="With shapley: seed of the coalitions.")
    ] = 0,
    machine: Machine,
) -> None:
    """Compare tasks by what a model needs for them, and find orders that suit them all."""
    if seed < 0:
        raise ArgumentError(f"--seed is {seed}, but must not be negative")
    names = [f"tasks-{kind}{suffix}" for kind in KINDS for suffix in PICTURES]
    results = Results.of_folder(out, "tasks.json", *names)
    files = _files(data)
    with machine.open(model) as opened, Bar() as bar:
        found = compare_tasks(
            opened,
            {name: read_data(paths, opened, sequence_length) for name, paths in files.items()},
            granularity,
            metric,
            remove=remove,
            seed=seed,
            calibration=calibration,
            held_out=held_out,
            combine=combine,  # type: ignore[arg-type]  # the call checks the name
            steps=steps,
            budget=budget,
            adapters=None if adapters == "none" else adapters,  # type: ignore[arg-type]
            directions=directions,
            progress=bar,
        )
    lines = _write(results, found, out)
    machine.answer(
        found.to_dict(),
        _correlations(found),
        "",
        *_sufficiency(found),
        _damages(found),
        "",
        _compromises(found),
        "",
        *lines,
        results=results,
    )


def _files(data: Sequence[str]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for given in data:
        name, equals, path = given.partition("=")
        if not (name and equals and path):
            raise ArgumentError(f"--data is '{given}', but must be NAME=FILE, one for each task")
        files.setdefault(name, []).append(Path(path))
    return files


def _write(results: Results, found: TaskComparison, out: Path) -> list[str]:
    lines = results.save(out / "tasks.json", found.save)
    for kind in KINDS:
        if kind == "sufficiency" and found.information is None:
            continue
        lines += results.pictures(out / f"tasks-{kind}", found.plot(kind=kind))
    return lines


def _correlations(found: TaskComparison) -> RenderableType:
    made = table("", *found.tasks)
    for task, row in zip(found.tasks, found.spearman, strict=True):
        made.add_row(task, *(f"{value:.3f}" for value in row))
    unit, metric = words(found.granularity), words(found.metric)
    return titled(f"Spearman's correlation of importances ({unit}, {metric})", made)


def _sufficiency(found: TaskComparison) -> list[RenderableType]:
    """The matrix with its errors, and which inclusions are beyond them; nothing if not measured."""
    information = found.information
    if information is None:
        return []
    made = table("explained by", *found.tasks)
    estimate = information.estimate
    for task, shares, errors in zip(found.tasks, estimate.shares, estimate.errors, strict=True):
        cells = [
            f"{share:.3f}" if np.isnan(error) else f"{share:.3f} +- {error:.3f}"
            for share, error in zip(shares, errors, strict=True)
        ]
        made.add_row(task, *cells)
    title = (
        f"Information sufficiency between the models pruned for each task, "
        f"{information.n_removed} removed (+-: standard error)"
    )
    return [titled(title, made), ""]


def _damages(found: TaskComparison) -> RenderableType:
    count = found.max_removed
    made = table("least important to", *(f"on {task}" for task in found.tasks))
    for task, row in zip(found.tasks, found.damage[count], strict=True):
        made.add_row(task, *(f"{100 * value:+.1f} %" for value in row))
    return titled(f"Increase of the held-out loss, {count} removed", made)


def _compromises(found: TaskComparison) -> RenderableType:
    count = found.max_removed
    all_, front = found.compromises(count), found.front(count)
    made: Table = table("weights of the tasks", *(f"loss on {task}" for task in found.tasks))
    for each in front[:MOST_ROWS]:
        # Weightings that lead to one mask form a convex set, so that their mean leads there, too.
        weights = np.mean(each.weights, axis=0)
        made.add_row(
            " : ".join(f"{weight:.2f}" for weight in weights),
            *(f"{loss:.4f}" for loss in each.losses),
        )
    title = (
        f"Orders for all tasks, {count} removed: {len(found.weights)} weightings give "
        f"{len(all_)} masks; on the front: {len(front)}"
    )
    return titled(title, made)
