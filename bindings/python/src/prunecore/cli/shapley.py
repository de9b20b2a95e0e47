# SPDX-License-Identifier: Apache-2.0
"""The command `shapley`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from prunecore._native.names.tables import ESTIMATOR, GRANULARITY, MEASURE
from prunecore._native.names.units import unit_count
from prunecore.cli import tables
from prunecore.cli.game_bar import GameBar, most_coalitions
from prunecore.cli.options import (
    ChoicesOption,
    ComputeOption,
    EvaluatedDataOption,
    ExamplesOption,
    JsonOption,
    LengthOption,
    LimitOption,
    ModelArgument,
    ScoringOption,
    SeedOption,
    ShotsOption,
    ThreadsOption,
    apply_threads,
    open_model,
    read_choices,
    read_data,
)
from prunecore.cli.output import Output, make_folder, wrote
from prunecore.errors import ArgumentError


def shapley(
    model: ModelArgument,
    data: EvaluatedDataOption = None,
    choices: ChoicesOption = None,
    examples: ExamplesOption = None,
    shots: ShotsOption = 0,
    scoring: ScoringOption = "letter",
    measure: Annotated[
        str,
        typer.Option(
            "--measure",
            metavar="U",
            help="loss, logit_l2, kl, js; of --choices also choice_error, choice_loss.",
        ),
    ] = "loss",
    estimator: Annotated[
        str,
        typer.Option(
            "--estimator",
            metavar="NAME",
            help="surrogate, kernel_shap, antithetic, permutation, truncated, stratified, banzhaf, "
            "exact, leave_one_out, pair_differences, random_subnetworks, or default.",
        ),
    ] = "default",
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget",
            metavar="N",
            help="Coalitions at most. Default: what the estimator needs, or 32 per unit.",
        ),
    ] = None,
    sublayer_budget: Annotated[
        int | None,
        typer.Option("--sublayer-budget", metavar="N", help="Sublayers computed at most."),
    ] = None,
    granularity: Annotated[
        str,
        typer.Option(
            "--granularity", metavar="G", help="sublayer, block, attention or feed_forward."
        ),
    ] = "sublayer",
    cap: Annotated[
        str,
        typer.Option(
            "--cap",
            metavar="X",
            help="A measure above X counts as X; none; default: ln(vocabulary) for loss.",
        ),
    ] = "default",
    target_error: Annotated[
        float | None,
        typer.Option("--target-error", metavar="E", help="Stop when no standard error is above E."),
    ] = None,
    least: Annotated[
        int | None,
        typer.Option("--least", metavar="K", help="Stop when it is sure which K are the lowest."),
    ] = None,
    certainty: Annotated[
        float, typer.Option("--certainty", metavar="C", help="How sure --least has to be.")
    ] = 0.95,
    keep_probability: Annotated[
        float, typer.Option("--keep-probability", metavar="P", help="Of banzhaf.")
    ] = 0.5,
    subnetwork_size: Annotated[
        int | None,
        typer.Option(
            "--subnetwork-size",
            metavar="K",
            help="Of random_subnetworks: units kept. Default: half.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="Holds the game after every batch; the same command resumes from it.",
        ),
    ] = None,
    sequence_length: LengthOption = 256,
    limit: LimitOption = None,
    seed: SeedOption = None,
    compute: ComputeOption = None,
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write the scores as JSON."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Estimate the Shapley value of every unit: how much damage keeping it averts.

    --seed also decides which coalitions are evaluated (0 if it is not given).
    """
    apply_threads(threads)
    how, what = ESTIMATOR.parse(estimator), MEASURE.parse(measure)
    units, most = GRANULARITY.parse(granularity), _cap(cap)
    if (choices is None) == (not data):
        raise ArgumentError("give either --data or --choices: the game is played on it")
    with open_model(model, compute) as opened:
        text = (
            read_choices(
                choices,
                opened,
                examples=examples,
                shots=shots,
                scoring=scoring,
                limit=limit,
                seed=seed,
            )
            if choices is not None
            else read_data(data or [], opened, sequence_length, limit, seed)
        )
        if checkpoint is not None:
            make_folder(checkpoint.parent)
        total = most_coalitions(how, unit_count(units, opened.shape.n_blocks), budget)
        with GameBar(total) as bar:
            found = opened.shapley(
                text,
                what,
                units,
                players=None,
                estimator=how,
                budget=budget,
                sublayer_budget=sublayer_budget,
                target_error=target_error,
                least=least,
                certainty=certainty,
                seed=seed or 0,
                cap=most,
                checkpoint=checkpoint,
                progress=bar.game,
                keep_probability=keep_probability,
                subnetwork_size=subnetwork_size,
                batch_progress=bar.batch,
            )
    parts: list[str] = []
    if out is not None:
        make_folder(out.parent)
        found.save(out)
        parts.append(wrote(out))
    Output(json_).result(found.to_dict(), tables.shapley(found), "", tables.game(found), *parts)


def _cap(given: str) -> float | Literal["default"] | None:
    if given == "default":
        return "default"
    if given == "none":
        return None
    try:
        return float(given)
    except ValueError as error:
        raise ArgumentError(f"--cap is '{given}', but must be a number, none or default") from error
