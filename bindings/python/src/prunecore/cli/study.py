# SPDX-License-Identifier: Apache-2.0
"""The commands `study`: `study recovery` here, `study search` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunecore.cli import recovery_tables, study_search
from prunecore.cli.flags import expanded
from prunecore.cli.line import Bar
from prunecore.cli.options import (
    Machine,
    StudiedDataOption,
    StudiedHeldOutOption,
    StudiedModelArgument,
)
from prunecore.cli.study_files import read_parts, studied_files, study_results, write_study
from prunecore.errors import ArgumentError
from prunecore.studies.study_recovery import METHODS, STUDIED, study_recovery

QUICK_METHODS = ("bias", "closed_form", "kl_from_zero", "kl")
QUICK_SEQUENCES = 96
QUICK_STEPS = 20

app = typer.Typer(help="Run many searches or recoveries, and write a table, JSON and a figure.")

app.command("search")(study_search.search)


@app.command("recovery")
@expanded
def recovery(
    model: StudiedModelArgument = None,
    *,
    data: StudiedDataOption = None,
    held_out: StudiedHeldOutOption = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write table, JSON and pictures.")
    ] = Path("out/recovery"),
    granularity: Annotated[
        str,
        typer.Option(
            "--granularity",
            metavar="NAMES",
            help="What is removed, with commas between: attention, feed_forward, block, sublayer.",
        ),
    ] = ",".join(STUDIED),
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            metavar="N",
            help="Largest number of units removed; smaller numbers are studied as well. "
            "Default: a third of the blocks.",
        ),
    ] = None,
    rank: Annotated[int, typer.Option("--rank", metavar="R", help="Rank of the matrices.")] = 16,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", metavar="N", help="Number of steps of each training. Default: 300."
        ),
    ] = None,
    step_tokens: Annotated[
        int, typer.Option("--step-tokens", metavar="N", help="Tokens per training step.")
    ] = 2048,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            metavar="X",
            help="Highest learning rate. Default: chosen by kind and hidden size.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help=f"Do less: remove only the largest number of units, train {QUICK_STEPS} steps on "
            f"{QUICK_SEQUENCES} sequences, and leave out the objectives mse and ce.",
        ),
    ] = False,
    sequence_length: Annotated[
        int, typer.Option("--sequence-length", metavar="N", help="Tokens per sequence.")
    ] = 256,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Seed of the first weights and the batches.")
    ] = 0,
    machine: Machine,
) -> None:
    """Measure what each kind of adapter wins back, by how much was removed."""
    results = study_results(out, "recovery")
    directory, files = studied_files(model, data)
    with machine.open(directory) as opened, Bar() as bar:
        n_blocks = opened.shape.n_blocks
        highest = max(1, n_blocks // 3) if most is None else most
        if not 1 <= highest <= n_blocks:  # before anything is measured
            raise ArgumentError(f"--most is {most}, but must be from 1 to {n_blocks}")
        learnt, measured = read_parts(files, held_out, opened, sequence_length)
        if quick:
            every = max(1, learnt.n_sequences // QUICK_SEQUENCES)
            learnt = learnt.select(range(0, learnt.n_sequences, every))
        found = study_recovery(
            opened,
            learnt,
            measured,
            [name.strip() for name in granularity.split(",")],
            [highest] if quick else range(1, highest + 1),
            methods=[m for m in METHODS if not quick or m.name in QUICK_METHODS],
            rank=rank,
            steps=steps if steps is not None else QUICK_STEPS if quick else 300,
            step_tokens=step_tokens,
            learning_rate=learning_rate,
            seed=seed,
            step=bar.stage,
        )
    lines = write_study(results, found, out, "recovery", recovery_tables.study_markdown(found))
    machine.answer(found.to_dict(), recovery_tables.study(found), "", *lines, results=results)
