# SPDX-License-Identifier: Apache-2.0
"""Results as pages of text and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import environment

MET = {True: "yes", False: "NO", None: ""}
QUIET = 1.4  # longest over shortest time of the same work


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table with columns of one width."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, ["-" * width for width in widths], *rows]
    ]
    return [*lines, ""]


def bar_table(rows: list[dict[str, Any]]) -> list[str]:
    """What was asked for, what was found, and whether it is enough."""
    head = ["what", "bar", "found", "least to most", "met"]
    return table(
        head, [[r["name"], r["bar"], r["found"], r["spread"], MET[r["met"]]] for r in rows]
    )


def timing_table(timings: Mapping[str, dict[str, Any]]) -> list[str]:
    """Seconds of everything that was timed."""
    rows = [
        [name, *(f"{taken[key]:.3f}" for key in ("median", "least", "most"))]
        for name, taken in timings.items()
    ]
    return table(["timed", "median s", "least s", "most s"], rows)


def busy(timings: Mapping[str, dict[str, Any]]) -> list[str]:
    """A warning, if the times of some work are too far apart to be the machine's own."""
    spread = max((taken["most"] / taken["least"] for taken in timings.values()), default=1.0)
    if spread <= QUIET:
        return []
    return [f"**The machine was busy: times of the same work differ up to {spread:.1f}-fold.**", ""]


def footer(results: Mapping[str, Any]) -> list[str]:
    """The machine, the versions and the notes."""
    ours = next((s for s in results["sides"].values() if "prunecore" in s), None)
    torch = next((s for s in results["sides"].values() if "torch" in s), None)
    lines = [f"- machine: {environment.described(results['machine'])}"]
    if ours is not None:
        runtime = ours["runtime"]
        lines += [
            f"- prunecore {ours['prunecore']}: bf16 kernels {runtime['bf16_kernels'] or 'none'}; "
            f"{runtime['blas']}, kernels {runtime['blas_kernels']}",
            f"- CPU: {runtime['cpu_features']}",
            f"- advice of the library: {runtime['advice'] or 'none'}",
        ]
    if torch is not None:
        lines.append(
            f"- torch {torch['torch']}, transformers {torch['transformers']}, attention "
            f"{torch['attention']}; Python {results['machine']['python']}"
        )
    removed = results["removed_from_environment"]
    said = ", ".join(f"{name}={value}" for name, value in removed.items()) or "nothing"
    lines.append(f"- removed from the environment: {said}")
    return [*lines, *(f"- {name}: {note}" for name, note in results["notes"].items()), ""]


def publish(name: str, results: Mapping[str, Any], text: str, out: Path) -> int:
    """Writes NAME.json and NAME.md, prints the page, and returns the exit status."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / f"{name}.md").write_text(text)
    print(text)
    missed = [row for row in results["rows"] if row["met"] is False]
    for row in missed:
        print(f"missed: {row['name']}: {row['found']}; bar: {row['bar']}", file=sys.stderr)
    return 1 if missed else 0
