# SPDX-License-Identifier: Apache-2.0
"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from prunecore.cli.output import count, table, titled
from prunecore.curve import Curve
from prunecore.evaluation import Evaluation
from prunecore.plots.style import words
from prunecore.runtime import Runtime
from prunecore.scores import Scores
from prunecore.shape import Cost, ModelShape, Sublayer

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
        ("blocks", count(shape.n_blocks)),
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
        ("key-value cache", f"{count(shape.kv_bytes_per_token)} bytes per token"),
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


def cost(before: Cost, after: Cost) -> Table:
    """What a model holds before and after."""
    made = table("", "before", "after", "saved")
    for label, one, two in (
        ("parameters", before.parameters, after.parameters),
        ("weights (bytes)", before.parameter_bytes, after.parameter_bytes),
        ("key-value cache (bytes per token)", before.kv_bytes_per_token, after.kv_bytes_per_token),
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
