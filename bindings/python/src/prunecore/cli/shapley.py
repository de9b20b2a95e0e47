# SPDX-License-Identifier: Apache-2.0
"""The command `shapley`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import RenderableType

from prunecore._native.names.units import unit_count
from prunecore.cli import tables
from prunecore.cli.flags import Generated, expanded, number_or
from prunecore.cli.game_bar import GameBar, most_coalitions
from prunecore.cli.options import (
    CheckpointOption,
    Machine,
    ModelArgument,
    OutFileOption,
    RunOn,
)
from prunecore.cli.results import Results
from prunecore.measures.options import CoalitionOptions
from prunecore.shapley.options import GameOptions, GameRunOptions


@expanded
def shapley(
    model: ModelArgument,
    *,
    on: RunOn,
    options: Annotated[dict[str, Any], Generated(GameOptions, leave_out=("seed",))],
    run: Annotated[dict[str, Any], Generated(GameRunOptions)],
    cap: Annotated[
        str,
        typer.Option(
            "--cap",
            metavar="X",
            help="A measure above X counts as X. none: measures as they are; default: "
            "ln(vocabulary size) for loss, and none for other measures.",
        ),
    ] = "default",
    measured: Annotated[dict[str, Any], Generated(CoalitionOptions, leave_out=("cap",))],
    checkpoint: CheckpointOption = None,
    out: OutFileOption = None,
    machine: Machine,
) -> None:
    """Estimate the Shapley value of every unit: how much damage keeping it averts.

    The measures choice_error and choice_loss need --choices.
    """
    on.check("the game is played on it")
    results = Results(out, checkpoint)
    most = number_or(("none", "default"), "--cap", cap, float)
    with machine.open(model) as opened:
        text = on.read_either(opened)
        n_units = unit_count(run["granularity"], opened.shape.n_blocks)
        with GameBar(most_coalitions(options["estimator"], n_units, options["budget"])) as bar:
            found = opened.shapley(
                text,
                cap=None if most == "none" else most,
                seed=on.seed or 0,
                checkpoint=checkpoint,
                progress=bar.game,
                batch_progress=bar.batch,
                **options,
                **run,
                **measured,
            )
    parts = results.save(out, found.save)
    shown: list[RenderableType] = [tables.shapley(found), "", tables.game(found), *parts]
    machine.answer(found.to_dict(), *shown, results=results)
