# SPDX-License-Identifier: Apache-2.0
"""Adapters and recovery studies as tables, for people and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Group

from prunecore.cli import study_tables
from prunecore.cli.output import count, table, titled
from prunecore.cli.study_tables import Rows, StudyTable
from prunecore.plots.style import words
from prunecore.recovery.adapters import Adapters
from prunecore.studies.recovery_study import RecoveryStudy

_UNITS = {"attention": "attn", "feed_forward": "ffn", "block": "block", "sublayer": "sublayer"}
"""Short, so that the table of all methods fits into 80 columns."""


def adapters(found: Adapters) -> Group:
    """One row per adapter."""
    made = table("adapter", "kind", "parameters", "bias", "matrix", "ridge", "explained")
    for each in found:
        kind = f"{words(each.kind)} {each.rank}" if each.rank else words(each.kind)
        made.add_row(
            each.name,
            kind,
            count(each.parameters),
            f"{each.bias_norm:.3g}",
            f"{each.matrix_norm:.3g}",
            "" if each.ridge is None else f"{each.ridge:.0e}",
            "" if each.explained is None else f"{100 * each.explained:.1f} %",
        )
    return titled("Adapters (norms; share of the update's variance explained)", made)


def recovered(losses: dict[str, float], share: float, found: Adapters, measured_on: str) -> Group:
    """What the adapters win back, and what that took."""
    summary = found.summary
    made = table("", "")
    made.add_row("removed", ", ".join(found.mask.removed))
    for name, loss in losses.items():
        made.add_row(f"loss, {name}", f"{loss:.4f}")
    made.add_row("lost loss won back", f"{100 * share:.1f} %")
    made.add_row("parameters of the adapters", count(summary.parameters))
    made.add_row("tokens learnt from", count(summary.tokens))
    if summary.steps:
        made.add_row("best of the training's steps", f"{summary.best_step} of {summary.steps}")
    made.add_row("seconds", f"{summary.seconds:.1f}")
    return titled(f"Recovery, measured on {measured_on}", made)


def study(found: RecoveryStudy) -> Group:
    """Losses, shares won back, and what each method took."""
    return study_tables.shown(_study(found))


def study_markdown(found: RecoveryStudy) -> str:
    """The tables of a study as Markdown."""
    return study_tables.markdown(_study(found))


def _study(found: RecoveryStudy) -> list[StudyTable]:
    """Titles, columns and rows of its tables."""
    methods = [method for method in found.methods if method != "pruned"]
    heads = [words(method).replace(" ", "\n") for method in methods]
    rank = found.provenance.get("rank")
    losses: Rows = []
    shares: Rows = []
    for granularity, removed in found.removals:
        points = [found.at(granularity, removed, method) for method in methods]
        pruned = found.at(granularity, removed, "pruned")
        name = f"{removed} {_UNITS[granularity]}"
        losses.append([name, f"{pruned.loss:.3f}", *(f"{point.loss:.3f}" for point in points)])
        shares.append([name, *(f"{100 * point.share:.0f} %" for point in points)])
    cost: Rows = []
    for method in methods:
        points = [point for point in found.points if point.method == method]
        cost.append(
            [
                words(method),
                *_range([point.parameters for point in points]),
                *_range([point.tokens for point in points]),
                f"{np.mean([point.seconds for point in points]):.1f}",
            ]
        )
    return [
        StudyTable(
            f"Held-out loss by what is removed (full model: {found.loss:.3f}), rank {rank}",
            ["", "pruned", *heads],
            losses,
        ),
        StudyTable("Share of the lost loss won back, by what is removed", ["", *heads], shares),
        StudyTable(
            "What the methods take",
            ["method", "parameters", "tokens\nlearnt from", "seconds\n(mean)"],
            cost,
        ),
    ]


def _range(values: Sequence[int]) -> list[str]:
    low, high = min(values), max(values)
    return [count(low) if low == high else f"{count(low)} to {count(high)}"]
