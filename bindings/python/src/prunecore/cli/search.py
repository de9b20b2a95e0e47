# SPDX-License-Identifier: Apache-2.0
"""The command `search`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from prunecore._native.names.tables import STRATEGIES
from prunecore._native.options_generated import MergeOptions
from prunecore.cli import search_tables, tables
from prunecore.cli.flags import Generated, expanded
from prunecore.cli.merge import STRATEGY, check_merge_only, run_merge
from prunecore.cli.options import (
    CheckpointOption,
    Machine,
    ModelArgument,
    OutFileOption,
    PlotOption,
    RunOn,
)
from prunecore.cli.results import Results
from prunecore.cli.search_bar import SearchBar
from prunecore.measures.options import CoalitionOptions
from prunecore.plots import save_figure
from prunecore.plots.style import checked_suffix
from prunecore.search.narrowing_options import NARROWINGS, NarrowingOptions
from prunecore.search.options import SearchOptions, SearchRunOptions
from prunecore.shapley.scores import read_scores

STRATEGY_NAMES = ", ".join([*STRATEGIES, STRATEGY, NARROWINGS[0]]) + f" or {NARROWINGS[1]}"


@expanded
def search(
    model: ModelArgument,
    *,
    on: RunOn,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            metavar="NAME",
            help=f"How the search chooses what to remove. One of {STRATEGY_NAMES}.",
        ),
    ] = "greedy",
    options: Annotated[dict[str, Any], Generated(SearchOptions, leave_out=("seed", "strategy"))],
    merge: Annotated[
        dict[str, Any],
        Generated(
            MergeOptions,
            leave_out=("remove", "batch_tokens", "memory_budget"),
            flags={"rule": "merge-rule", "weight": "merge-weight"},
        ),
    ],
    narrowing: Annotated[dict[str, Any], Generated(NarrowingOptions)],
    neuron_metric: Annotated[
        str | None,
        typer.Option(
            "--neuron-metric",
            metavar="NAME",
            help="2ssp, narrow: score by which neurons stay, norm or contribution. Default: norm "
            "for 2ssp, contribution for narrow.",
        ),
    ] = None,
    run: Annotated[dict[str, Any], Generated(SearchRunOptions)],
    measured: Annotated[dict[str, Any], Generated(CoalitionOptions, leave_out=("cap",))],
    protect: Annotated[
        str | None,
        typer.Option(
            "--protect",
            metavar="NAMES",
            help="Sublayers that are never removed, with commas between: attn.0,block.11.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start", metavar="FILE", help="Mask to start from: the search removes more."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="M",
            help="Metric used where the strategy needs scores; with --scores, which metric of that "
            "file.",
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="FILE",
            help="Use this file of scores (from `score --out` or `shapley --out`) instead of "
            "computing them.",
        ),
    ] = None,
    checkpoint: CheckpointOption = None,
    out: OutFileOption = None,
    plot: PlotOption = None,
    machine: Machine,
) -> None:
    """Find what to remove under a budget, and write it as a mask.

    Bounds on milliseconds count times that are measured first, on this machine. The measures
    choice_error and choice_loss need --choices. 2ssp and narrow make feed-forwards narrower, too,
    and take --sparsity or --parameter-bytes. merge merges blocks into others while the last hidden
    states stay similar.
    """
    protected = None if protect is None else [name.strip() for name in protect.split(",")]
    check_merge_only(strategy, merge)
    if strategy == STRATEGY:
        given_too = {
            "start": start,
            "metric": metric,
            "scores": scores,
            "checkpoint": checkpoint,
            "neuron_metric": neuron_metric,
        }
        others = {**options, **run, **measured, **narrowing, **given_too}
        run_merge(
            model, on, machine, options=merge, others=others, protect=protected, out=out, plot=plot
        )
        return
    on.check("damages are measured on it")
    if plot is not None:
        checked_suffix(plot)  # before hours of work
    results = Results(checkpoint, out, plot)
    with machine.open_for(start, model) as (opened, began):
        text = on.read_either(opened)
        given = None if scores is None else read_scores(scores)
        with SearchBar() as bar:
            found = opened.search(
                text,
                strategy,  # type: ignore[arg-type]  # the call checks the name
                protect=protected,
                start=began,
                metric=metric,
                scores=given,
                seed=on.seed or 0,
                checkpoint=checkpoint,
                progress=bar.search,
                batch_progress=bar.batch,
                neuron_metric=neuron_metric,  # type: ignore[arg-type]  # and this one
                **options,
                **narrowing,
                **run,
                **measured,
            )
        before = opened.cost()
        is_narrower = len(found.mask.edits) > len(opened.edits)
        with opened.edited(found.mask) if is_narrower else nullcontext(opened) as left:
            after = left.cost(found.mask)
    parts = results.save(out, found.mask.save)
    parts += results.save(plot, lambda place: save_figure(found.plot(), place))
    machine.answer(
        {**found.to_dict(), "cost_before": before.to_dict(), "cost_after": after.to_dict()},
        search_tables.search(found),
        "",
        search_tables.path(found),
        "",
        tables.cost(before, after),
        *parts,
        results=results,
    )
