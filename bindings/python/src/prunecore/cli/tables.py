# SPDX-License-Identifier: Apache-2.0
"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table

from prunecore._native.runtime import Runtime
from prunecore.cli.output import count, table, titled
from prunecore.importance.curve import Curve
from prunecore.importance.neuron_scores import NeuronScores
from prunecore.importance.scores import Scores
from prunecore.importance.topology import METRIC, rule_cuts
from prunecore.measures.choice_evaluation import ChoiceEvaluation
from prunecore.measures.evaluation import Evaluation
from prunecore.plots.shapley_values import COVER
from prunecore.plots.style import words
from prunecore.shape import Cost, ModelShape, Sublayer
from prunecore.shapley.scores import ShapleyScores

METRICS_PER_TABLE = 5
"""So that a table fits into 80 columns."""


def model(name: str, shape: ModelShape, sublayers: Sequence[Sublayer]) -> Group:
    """What a model is made of."""
    made = table("", "")
    attention = sum(s.parameters for s in sublayers if not s.is_feed_forward)
    feed_forward = sum(s.parameters for s in sublayers if s.is_feed_forward)
    rest = shape.parameters - attention - feed_forward
    for label, value in (
        ("architecture", shape.architecture),
        ("stored as", shape.element_type),
        ("computed in", shape.compute),
        ("blocks", count(shape.n_blocks)),
        *([("absent", ", ".join(shape.absent))] if shape.absent else []),
        ("hidden size", count(shape.hidden_size)),
        ("feed-forward size", count(shape.feed_forward_size)),
        (
            "heads (key-value heads) x size",
            f"{shape.n_heads} ({shape.n_kv_heads}) x {shape.head_size}",
        ),
        ("vocabulary", count(shape.vocabulary_size)),
        ("context", f"{count(shape.context_length)} tokens"),
        ("parameters", count(shape.parameters)),
        ("  attention", _share(attention, shape.parameters)),
        ("  feed-forward", _share(feed_forward, shape.parameters)),
        ("  embeddings, head and final norm", _share(rest, shape.parameters)),
        ("weights", f"{count(shape.parameter_bytes)} bytes"),
        ("key-value cache", f"{count(shape.kv_bytes)} bytes per token"),
    ):
        made.add_row(label, value)
    return titled(name, made)


def runtime(found: Runtime) -> Group:
    """What the library runs on."""
    made = table("", "")
    made.columns[1].justify = "left"
    made.add_row("threads", f"{found.threads} of {found.processors} processors")
    made.add_row("BLAS", found.blas)
    made.add_row("kernels", found.blas_kernels + (" (forced)" if found.blas_forced else ""))
    made.add_row("bf16 kernels", found.bf16_kernels or "none")
    made.add_row("loops", found.loop_kernels)
    made.add_row("CPU", found.cpu_features)
    if found.advice:
        made.add_row("advice", found.advice)
    return titled("Runtime", made)


def scores(found: Scores) -> Group:
    """One row per unit, one column per metric; the least important unit of each is marked."""
    parts: list[RenderableType] = []
    for start in range(0, len(found.metrics), METRICS_PER_TABLE):
        if start:
            parts.append("")
        parts.append(_some_scores(found, found.metrics[start : start + METRICS_PER_TABLE]))
    return titled("Scores (higher = more important; * = least important)", *parts)


def topology_cuts(found: Scores) -> list[RenderableType]:
    """What the rule of topology removes, if the scores are by that metric."""
    if METRIC not in found.metrics:
        return []
    lines: list[RenderableType] = [""]
    for ratio, blocks in rule_cuts(found).items():
        lines.append(f"Cut by the rule of topology, P = {ratio}: {', '.join(blocks)}")
    return lines


def _some_scores(found: Scores, metrics: Sequence[str]) -> Table:
    made = table("unit", *(words(metric) for metric in metrics))
    lowest = {metric: found.order(metric)[:1] for metric in metrics}
    for index, unit in enumerate(found.unit_names):
        cells = [
            f"{found[metric][index]:.4g}" + ("*" if [unit] == lowest[metric] else " ")
            for metric in metrics
        ]
        made.add_row(unit, *cells)
    return made


def neurons(found: NeuronScores) -> Group:
    """One row per block: its neurons, their norms, and how even their contributions are."""
    made = table("block", "neurons", "median norm", "highest", "share of the lower half")
    for block, (norms, parts) in enumerate(zip(found.norms, found.contributions, strict=True)):
        if not len(norms):
            continue
        squares = np.sort(parts**2)
        lower = squares[: len(squares) // 2].sum() / max(squares.sum(), 1e-300)
        made.add_row(
            str(block),
            count(len(norms)),
            f"{np.median(norms):.4g}",
            f"{norms.max():.4g}",
            f"{100 * lower:.1f} %",
        )
    return titled("Neurons (share: of the squared contributions to the update)", made)


def cost(before: Cost, after: Cost) -> Table:
    """What a model holds before and after."""
    made = table("", "before", "after", "saved")
    for label, one, two in (
        ("parameters", before.parameters, after.parameters),
        ("weights (bytes)", before.parameter_bytes, after.parameter_bytes),
        ("key-value cache (bytes per token)", before.kv_bytes, after.kv_bytes),
    ):
        saved = f"{100 * (one - two) / one:.1f} %" if one else "0 %"
        made.add_row(label, count(one), count(two), saved)
    return made


def evaluation(found: Evaluation, removed: Sequence[str]) -> Table:
    """Loss and perplexity."""
    made = table("", "")
    made.add_row("removed", ", ".join(removed) or "nothing")
    made.add_row("loss (nats per token)", f"{found.loss:.4f}")
    made.add_row("perplexity", f"{found.perplexity:.3f}")
    made.add_row("perplexity, mean over sequences", f"{found.sequence_perplexity:.3f}")
    made.add_row("predicted tokens", count(found.tokens))
    made.add_row("sequences", count(found.sequences))
    return made


def choices(found: ChoiceEvaluation, shots: Sequence[int], removed: Sequence[str]) -> Group:
    """Accuracy on multiple-choice questions, and that of each subject if there are several."""
    made = table("", "")
    shown = f"{min(shots)}" if min(shots) == max(shots) else f"{min(shots)} to {max(shots)}"
    made.add_row("removed", ", ".join(removed) or "nothing")
    made.add_row("questions", count(found.n_items))
    made.add_row("scored by, shots", f"{found.scoring}, {shown}")
    made.add_row("accuracy", _accuracy(found.accuracy, found.standard_error))
    made.add_row("accuracy of guessing", f"{100 * found.chance:.1f} %")
    made.add_row("loss of the answers (nats per question)", f"{found.choice_loss:.4f}")
    if len(found.by_subject) == 1:
        return titled("Multiple choice", made)
    average = _accuracy(found.macro_accuracy, found.macro_standard_error)
    made.add_row("accuracy, mean over subjects", average)
    subjects = table("subject", "questions", "accuracy")
    for name, one in found.by_subject.items():
        subjects.add_row(
            name.replace("_", " ") or "(none)",
            count(one.n_items),
            _accuracy(one.accuracy, one.standard_error),
        )
    return titled("Multiple choice", made, "", subjects)


def _accuracy(share: float, error: float | None) -> str:
    shown = f"{100 * share:.1f}"
    return f"{shown} %" if error is None else f"{shown} +- {100 * error:.1f} %"


def shapley(found: ShapleyScores) -> Group:
    """What each unit adds, with the half-width of its 95 % interval, and its place in the order."""
    name = words(found.metrics[0])
    made = table("unit", name, "+-", "removed as")
    places = {unit: place for place, unit in enumerate(found.order(), start=1)}
    for unit, value, error in zip(
        found.unit_names, found.values, found.standard_errors, strict=True
    ):
        margin = f"{COVER * error:.2g}" if np.isfinite(error) else "unknown"
        made.add_row(unit, f"{value:.4g}", margin, str(places[unit]))
    return titled(f"{name} of each {words(found.granularity)} (+-: 95 % interval)", made)


def game(found: ShapleyScores) -> Table:
    """How a game was played."""
    state, made = found.state, table("", "")
    made.add_row("estimator", words(state.estimator))
    made.add_row("coalitions", count(state.told) + ("" if state.done else " (not done)"))
    gap = state.efficiency_gap
    made.add_row("efficiency gap", f"{gap:.2g}" if np.isfinite(gap) else "unknown")
    saved = f" of {count(state.sublayers_naive)}, mask by mask"
    made.add_row("sublayers computed", count(state.sublayers_computed) + saved)
    return made


def curves(found: Sequence[Curve]) -> Group:
    """Loss by number of units removed, one column per curve."""
    parts: list[RenderableType] = []
    for start in range(0, len(found), METRICS_PER_TABLE):
        if start:
            parts.append("")
        parts.append(_some_curves(found[start : start + METRICS_PER_TABLE]))
    return titled("Loss (nats per token) by number of units removed", *parts)


def _some_curves(found: Sequence[Curve]) -> Table:
    several = len({curve.granularity for curve in found}) > 1
    names = [
        f"{words(curve.granularity)}\n{words(curve.metric)}" if several else words(curve.metric)
        for curve in found
    ]
    made = table("removed", *names)
    for row in range(max(len(curve.n_removed) for curve in found)):
        cells = [f"{curve.losses[row]:.3f}" if row < len(curve.losses) else "" for curve in found]
        made.add_row(str(row), *cells)
    return made


def _share(part: int, whole: int) -> str:
    return f"{count(part)} ({100 * part / whole:.1f} %)"
