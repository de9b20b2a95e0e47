# SPDX-License-Identifier: Apache-2.0
"""The command `search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunecore._native.names.tables import GRANULARITY, MEASURE, STRATEGY
from prunecore.cli import search_tables, tables
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
    read_mask,
)
from prunecore.cli.output import Output, make_folder, wrote
from prunecore.cli.search_bar import SearchBar
from prunecore.errors import ArgumentError
from prunecore.plots import save_figure
from prunecore.plots.style import checked_suffix
from prunecore.shapley.scores import read_scores


def search(
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
            help="The damage: loss, logit_l2, kl, js; of --choices also choice_error, choice_loss.",
        ),
    ] = "loss",
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            metavar="NAME",
            help="greedy, evolutionary, one_shot, window, tail or random.",
        ),
    ] = "greedy",
    granularity: Annotated[
        str,
        typer.Option(
            "--granularity",
            metavar="G",
            help="What is removed: sublayer, block, attention or feed_forward.",
        ),
    ] = "sublayer",
    remove: Annotated[
        int | None, typer.Option("--remove", metavar="N", help="Units to remove.")
    ] = None,
    remove_attention: Annotated[
        int | None,
        typer.Option(
            "--remove-attention", metavar="N", help="Of sublayers: attention layers to remove."
        ),
    ] = None,
    remove_feed_forward: Annotated[
        int | None,
        typer.Option(
            "--remove-feed-forward",
            metavar="N",
            help="Of sublayers: feed-forward layers to remove.",
        ),
    ] = None,
    remove_parameters: Annotated[
        float | None,
        typer.Option(
            "--remove-parameters",
            metavar="S",
            help="Share of the model's parameters to remove at least: 0.25 = a quarter.",
        ),
    ] = None,
    parameter_bytes: Annotated[
        int | None,
        typer.Option("--parameter-bytes", metavar="B", help="Bytes of weights left at most."),
    ] = None,
    kv_bytes: Annotated[
        int | None,
        typer.Option(
            "--kv-bytes", metavar="B", help="Bytes of key-value cache per token left at most."
        ),
    ] = None,
    prefill_ms: Annotated[
        float | None,
        typer.Option(
            "--prefill-ms",
            metavar="X",
            help="Milliseconds per token of a prompt at most, as measured first on this machine.",
        ),
    ] = None,
    decode_ms: Annotated[
        float | None,
        typer.Option("--decode-ms", metavar="X", help="The same of the next token."),
    ] = None,
    max_loss_increase: Annotated[
        float | None,
        typer.Option(
            "--max-loss-increase",
            metavar="S",
            help="Damage at most this share above that of the start: 0.02 = 2 %.",
        ),
    ] = None,
    max_damage: Annotated[
        float | None, typer.Option("--max-damage", metavar="X", help="Damage at most.")
    ] = None,
    protect: Annotated[
        str | None,
        typer.Option(
            "--protect",
            metavar="NAMES",
            help="What is never removed, with commas between: attn.0,block.11.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--start", metavar="FILE", help="Mask to start from: remove more."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="M",
            help="What units are scored by where scores are needed; of --scores, which of theirs.",
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="FILE",
            help="Scores that `score` or `shapley` wrote, in their place.",
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--candidates",
            metavar="K",
            help="Of greedy: try only the K units with the lowest scores at each step.",
        ),
    ] = None,
    exchanges: Annotated[
        int | None,
        typer.Option(
            "--exchanges",
            metavar="N",
            help="Of greedy: rounds without a better mask after which exchanges end; 0 = none.",
        ),
    ] = None,
    offspring: Annotated[
        int | None,
        typer.Option("--offspring", metavar="N", help="Of evolutionary: masks of a generation."),
    ] = None,
    generations: Annotated[
        int | None, typer.Option("--generations", metavar="N", help="Of evolutionary.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience", metavar="N", help="Of evolutionary: end after N without a better mask."
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="Holds the search after every batch; the same command resumes from it.",
        ),
    ] = None,
    sequence_length: LengthOption = 256,
    limit: LimitOption = None,
    seed: SeedOption = None,
    compute: ComputeOption = None,
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write the mask as JSON.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Where to draw the way to the mask."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Find what to remove under a budget, and write it as a mask.

    --seed also decides what evolutionary and random draw (0 if it is not given).
    """
    apply_threads(threads)
    how, what = STRATEGY.parse(strategy), MEASURE.parse(measure)
    units = GRANULARITY.parse(granularity)
    if (choices is None) == (not data):
        raise ArgumentError("give either --data or --choices: damages are measured on it")
    if plot is not None:
        checked_suffix(plot)  # before hours of work
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
        given = None if scores is None else read_scores(scores)
        for written in (checkpoint, out, plot):
            if written is not None:
                make_folder(written.parent)
        with SearchBar() as bar:
            found = opened.search(
                text,
                how,
                units,
                remove=remove,
                remove_attention=remove_attention,
                remove_feed_forward=remove_feed_forward,
                remove_parameters=remove_parameters,
                parameter_bytes=parameter_bytes,
                kv_bytes=kv_bytes,
                prefill_ms=prefill_ms,
                decode_ms=decode_ms,
                max_loss_increase=max_loss_increase,
                max_damage=max_damage,
                protect=None if protect is None else [n.strip() for n in protect.split(",")],
                start=read_mask(start, opened),
                measure=what,
                metric=metric,
                scores=given,
                candidates=candidates,
                exchanges=exchanges,
                seed=seed or 0,
                offspring=offspring,
                generations=generations,
                patience=patience,
                checkpoint=checkpoint,
                progress=bar.search,
                batch_progress=bar.batch,
            )
        before, after = opened.cost(), opened.cost(found.mask)
    parts: list[str] = []
    if out is not None:
        found.mask.save(out)
        parts.append(wrote(out))
    if plot is not None:
        save_figure(found.plot(), plot)
        parts.append(wrote(plot))
    Output(json_).result(
        {**found.to_dict(), "cost_before": before.to_dict(), "cost_after": after.to_dict()},
        search_tables.search(found),
        "",
        search_tables.path(found),
        "",
        tables.cost(before, after),
        *parts,
    )
