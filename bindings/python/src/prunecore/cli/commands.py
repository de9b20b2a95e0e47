# SPDX-License-Identifier: Apache-2.0
"""The commands that work on any model: info, score, prune, evaluate, curve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

import prunecore
from prunecore._native.names.metric_sets import parse_metrics
from prunecore._native.names.tables import GRANULARITY
from prunecore._native.names.units import parse_only
from prunecore._native.options_generated import ScoreOptions
from prunecore._native.runtime import runtime_info
from prunecore.cli import share, tables
from prunecore.cli.flags import Generated, expanded
from prunecore.cli.line import Bar
from prunecore.cli.options import (
    AdaptersOption,
    DataOption,
    Machine,
    MaskOption,
    Measured,
    ModelArgument,
    OnlyOption,
    OutFileOption,
    OutFolderOption,
    ScoredDataOption,
    ScoresOption,
    Sequences,
    read_adapters,
)
from prunecore.cli.output import count
from prunecore.cli.results import Results
from prunecore.errors import ArgumentError
from prunecore.importance.score import BY_NAME
from prunecore.importance.scores import Scores
from prunecore.importance.topology import cut_blocks
from prunecore.masks.mask import Mask
from prunecore.plots import pruning_curves
from prunecore.shapley.scores import ShapleyScores, read_scores


@expanded
def info(
    model: ModelArgument,
    *,
    machine: Machine,
) -> None:
    """Say what a model is made of, and what the library runs on."""
    machine.apply()
    runtime = runtime_info()
    with machine.open(model) as opened:
        shape, sublayers = opened.shape, opened.sublayers
        record = {
            "model": {**opened.provenance, **shape.to_dict()},
            "sublayers": [
                {
                    "name": sublayer.name,
                    "parameters": sublayer.parameters,
                    "parameter_bytes": sublayer.parameter_bytes,
                    "kv_bytes": sublayer.kv_bytes,
                    "window": sublayer.window,
                }
                for sublayer in sublayers
            ],
            "runtime": {"version": prunecore.__version__, **runtime.to_dict()},
        }
    machine.answer(record, tables.model(str(model), shape, sublayers), "", tables.runtime(runtime))


@expanded
def score(
    model: ModelArgument,
    *,
    data: ScoredDataOption = None,
    sequences: Sequences,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            metavar="NAMES",
            help="Names of metrics with commas between, static (those of one forward pass) or all; "
            "topology only by its name; or neurons, for each neuron of every feed-forward.",
        ),
    ] = "static",
    options: Annotated[dict[str, Any], Generated(ScoreOptions)],
    neighbours: Annotated[
        int,
        typer.Option(
            "--neighbours",
            metavar="N",
            help="Nearest neighbours that the metric topology joins each prompt to.",
        ),
    ] = 5,
    sharing: Annotated[
        bool,
        typer.Option(
            "--sharing",
            help="Instead, tell which sublayers could use the weights of earlier ones: the rank "
            "that a delta needs, of outputs if there is --data, else of weights.",
        ),
    ] = False,
    error: Annotated[
        float,
        typer.Option("--error", metavar="X", help="Relative error that --sharing allows."),
    ] = 0.1,
    mask: MaskOption = None,
    out: OutFileOption = None,
    machine: Machine,
) -> None:
    """Score how much every unit of a model matters, or every neuron."""
    results = Results(out)
    if sharing:
        with machine.open(model) as opened, Bar() as bar:
            text = sequences.read_if_any(data, opened)
            found = opened.sharing(text, error, progress=bar)
        parts = results.save(out, found.save)
        return machine.answer(found.to_dict(), share.analysis(found), *parts, results=results)
    if metric.strip() == "neurons":
        _score_neurons(model, data, sequences, options, mask, machine, results, out)
        return
    names = parse_metrics(metric, by_name=BY_NAME)
    if not data and names != ("magnitude",):
        raise ArgumentError(f"--data is missing: {names[0]} needs text")
    with machine.open_for(mask, model) as (opened, given), Bar() as bar:
        text = sequences.read_if_any(data, opened)
        scores = opened.score(
            text, names, mask=given, neighbours=neighbours, progress=bar, **options
        )
    cuts = tables.topology_cuts(scores)
    parts = results.save(out, scores.save)
    machine.answer(scores.to_dict(), tables.scores(scores), *cuts, *parts, results=results)


def _score_neurons(
    model: Path,
    data: list[Path] | None,
    sequences: Sequences,
    options: dict[str, Any],
    mask: Path | None,
    machine: Machine,
    results: Results,
    out: Path | None,
) -> None:
    given = {name for name, value in options.items() if value != getattr(ScoreOptions(), name)}
    if given - {"batch_tokens"}:
        flag = min(given - {"batch_tokens"}).replace("_", "-")
        raise ArgumentError(f"--{flag} is for scores of units, and these are of neurons")
    if not data:
        raise ArgumentError("--data is missing: neurons need text")
    with machine.open_for(mask, model) as (opened, chosen), Bar() as bar:
        text = sequences.read(data, opened)
        scores = opened.neuron_scores(
            text, chosen, progress=bar, batch_tokens=options["batch_tokens"]
        )
    parts = results.save(out, scores.save)
    machine.answer(scores.to_dict(), tables.neurons(scores), *parts, results=results)


@expanded
def prune(
    model: ModelArgument,
    *,
    scores: ScoresOption,
    remove: Annotated[
        int | None, typer.Option("--remove", metavar="N", help="How many units to remove.")
    ] = None,
    cut: Annotated[
        float | None,
        typer.Option(
            "--cut",
            metavar="P",
            help="Instead, by scores of topology: remove the blocks whose mean similarity is at "
            "least P times the largest. The paper's P are 0.9 and 0.8.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME", help="Which of the metrics in the file decides."),
    ] = None,
    granularity: Annotated[
        str | None,
        typer.Option(
            "--granularity",
            metavar="G",
            help="What to remove. Default: what was scored. From scores of sublayers, attention "
            "and feed_forward are the same as with --only.",
        ),
    ] = None,
    only: OnlyOption = None,
    mask: MaskOption = None,
    out: OutFileOption = None,
    machine: Machine,
) -> None:
    """Make the mask that removes the least important units."""
    results = Results(out)
    found = read_scores(scores)
    kind = _kind(found, granularity, only)
    with machine.open_for(mask, model) as (opened, given):
        found.check_model(opened)
        made = _made(found, remove, cut, metric, kind, given)
        before, after = opened.cost(), opened.cost(made)
    parts = results.save(out, made.save)
    record = {
        **json.loads(made.to_json()),
        "cost_before": before.to_dict(),
        "cost_after": after.to_dict(),
    }
    removed = f"Removed: {', '.join(made.removed) or 'nothing'}"
    machine.answer(record, removed, "", tables.cost(before, after), *parts, results=results)


@expanded
def evaluate(
    model: ModelArgument,
    *,
    on: Measured,
    mask: MaskOption = None,
    adapters: AdaptersOption = None,
    out: OutFileOption = None,
    machine: Machine,
) -> None:
    """Measure loss and perplexity on text, and accuracy on questions: pruned, or recovered."""
    if not on.data and on.choices is None:
        raise ArgumentError("there is nothing to measure: give --data, --choices, or both")
    results = Results(out)
    with machine.open_for(mask, model) as (opened, asked), Bar() as bar:
        given = asked or opened.mask
        found = read_adapters(adapters, opened, given if mask is not None else None)
        # A recovered model keeps all it has: its adapters stand in the place of what was removed.
        measured = opened if found is None else found.attach(opened)
        chosen = given if found is None else measured.mask
        removed = (given if found is None else found.mask).removed
        text = on.read_text(opened)
        questions = on.read_questions(opened)
        record: dict[str, Any] = {}
        shown: list[RenderableType] = []
        if text is not None:
            worth = measured.evaluate(text, chosen, progress=bar)
            record |= {**worth.to_dict(), "data_sha256": text.digest}
            shown.append(tables.evaluation(worth, removed))
        if questions is not None:
            answered = measured.evaluate_choices(questions, chosen, progress=bar)
            record["choices"] = {**answered.to_dict(), "data_sha256": questions.digest}
            shown.append(tables.choices(answered, questions.shots, removed))
        if found is not None:
            record["adapters"] = found.to_dict()
            shown.append(f"Adapters: {count(found.summary.parameters)} parameters")
        record["removed"] = removed
        record["cost"] = measured.cost(chosen).to_dict()
        record["model"] = measured.provenance
    shown += results.record(out, record)
    machine.answer(record, *shown, results=results)


@expanded
def curve(
    model: ModelArgument,
    *,
    data: DataOption,
    scores: ScoresOption,
    out: OutFolderOption,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", metavar="NAMES", help="Which metrics of the file. Default: all of them."
        ),
    ] = None,
    only: OnlyOption = None,
    max_removed: Annotated[
        int | None, typer.Option("--max-removed", metavar="N", help="Units removed at most.")
    ] = None,
    sequences: Sequences,
    machine: Machine,
) -> None:
    """Measure the loss as more and more of the least important units go."""
    results = Results.of_folder(out, "curves.json", "curves.png", "curves.svg")
    found = read_scores(scores)
    names = found.metrics if metric is None else metric.split(",")
    metrics = [found.chosen_metric(name.strip()) for name in names]
    with machine.open(model) as opened, Bar() as bar:
        text = sequences.read(data, opened)
        curves = []
        for name in metrics:
            bar.label = f"curve: {name}"
            curves.append(opened.curve(text, found, name, max_removed, only=only, progress=bar))
    record = {
        "format": "prunecore.curves",
        "version": 1,
        "curves": [made.to_dict() for made in curves],
    }
    lines = results.record(out / "curves.json", record)
    lines += results.pictures(out / "curves", pruning_curves(curves))
    machine.answer(record, tables.curves(curves), *lines, results=results)


def _made(
    found: Scores | ShapleyScores,
    remove: int | None,
    cut: float | None,
    metric: str | None,
    kind: str | None,
    start: Mask | None,
) -> Mask:
    """The mask that the scores make: by number, or by the rule of topology."""
    if (remove is None) == (cut is None):
        raise ArgumentError("give either --remove, the number of units, or --cut, of topology")
    if remove is not None:
        return found.prune(remove, metric, only=kind, mask=start)
    assert cut is not None
    if not isinstance(found, Scores) or kind is not None:
        raise ArgumentError("--cut is for scores of blocks by topology, and removes whole blocks")
    if metric not in (None, "topology"):
        raise ArgumentError(f"--cut is of the metric topology, not of {metric}")
    return cut_blocks(found, cut, start)


def _kind(found: Scores | ShapleyScores, granularity: str | None, only: str | None) -> str | None:
    """What to remove, from the two options that say it."""
    kind = parse_only(only)
    if granularity is None:
        return kind
    asked = GRANULARITY.parse(granularity)
    if asked == found.granularity:
        return kind
    if asked in ("attention", "feed_forward"):
        if kind is not None and kind != asked:
            raise ArgumentError(f"--granularity {asked} contradicts --only {kind}")
        return asked
    raise ArgumentError(
        f"scores of each {found.granularity} say nothing about the granularity {asked}: "
        f"make others with `prunecore score --granularity {asked}`"
    )
