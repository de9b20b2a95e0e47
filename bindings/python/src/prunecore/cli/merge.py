# SPDX-License-Identifier: Apache-2.0
"""`search --strategy merge`: blocks merged into others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group

from prunecore.cli import tables
from prunecore.cli.line import Bar
from prunecore.cli.options import Machine, RunOn
from prunecore.cli.output import count, table, titled
from prunecore.cli.results import Results
from prunecore.errors import ArgumentError
from prunecore.measures.options import CoalitionOptions
from prunecore.search.merge_result import MergeResult
from prunecore.search.narrowing_options import NarrowingOptions
from prunecore.search.options import SearchOptions, SearchRunOptions

STRATEGY = "merge"
"""Beside the strategies of searches, which choose masks alone."""

_SHARED = ("remove", "batch_tokens", "memory_budget")
_USUAL: dict[str, Any] = {
    **SearchOptions().to_dict(),
    **SearchRunOptions().to_dict(),
    **CoalitionOptions().to_dict(),
    **NarrowingOptions().to_dict(),
}


def check_merge_only(strategy: str, options: dict[str, Any]) -> None:
    """Refuses options of merges for another strategy."""
    for name, value in options.items():
        if strategy != STRATEGY and value not in (None, "running"):
            flag = name if name == "threshold" else f"merge-{name}"
            raise ArgumentError(f"--{flag} goes with --strategy {STRATEGY}, not with {strategy}")


def run_merge(
    model: Path,
    on: RunOn,
    machine: Machine,
    *,
    options: dict[str, Any],
    others: dict[str, Any],
    protect: list[str] | None,
    out: Path | None,
    plot: Path | None,
) -> None:
    """Merges blocks, and writes the mask with the edits.

    Parameters
    ----------
    options : dict
        Those of merges.
    others : dict
        Those of searches: some have a meaning here, and the others must not be given.
    """
    if on.choices is not None or not on.data:
        raise ArgumentError(f"--strategy {STRATEGY} compares hidden states on text: give --data")
    for name, value in others.items():
        if name not in (*_SHARED, "granularity") and value != _USUAL.get(name):
            raise ArgumentError(
                f"--{name.replace('_', '-')} does not go with --strategy {STRATEGY}, which takes "
                "--remove, or --threshold"
            )
    if others["granularity"] not in ("sublayer", "block"):
        raise ArgumentError(f"--strategy {STRATEGY} removes whole blocks: --granularity block")
    if plot is not None:
        raise ArgumentError(f"--plot does not go with --strategy {STRATEGY}")
    results = Results(out)
    shared = {name: others[name] for name in _SHARED}
    with machine.open(model) as opened, Bar() as bar:
        text = on.read(on.data, opened)
        found = opened.merge_blocks(text, protect=protect, progress=bar, **options, **shared)
        before = opened.cost()
        with opened.edited(found.mask) as edited:
            after = edited.cost(found.mask)
    parts = results.save(out, found.mask.save)
    machine.answer(
        {**found.to_dict(), "cost_before": before.to_dict(), "cost_after": after.to_dict()},
        _merged(found),
        "",
        _steps(found),
        "",
        tables.cost(before, after),
        *parts,
        results=results,
    )


def _merged(found: MergeResult) -> Group:
    """What was merged, and what it took."""
    made = table("", "")
    made.add_row("removed", ", ".join(found.removed) or "nothing")
    for edit in found.mask.edits:
        if edit["kind"] == "merge":
            sources = ", ".join(str(block) for block in edit["from"])
            made.add_row(f"merged into block {edit['into']}", sources)
    made.add_row("threshold", f"{found.threshold:.4f}")
    made.add_row("similarity", f"{found.similarity:.4f}")
    made.add_row("merged models run", count(found.evaluated))
    return titled("Merged blocks", made)


def _steps(found: MergeResult) -> Group:
    """One row per look."""
    made = table("blocks", "similarity", "")
    for step in found.steps:
        verdict = "merged" if step.accepted else "too different"
        made.add_row(f"{step.low} to {step.high}", f"{step.similarity:.4f}", verdict)
    return titled("The way to the mask", made)
