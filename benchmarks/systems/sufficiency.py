# SPDX-License-Identifier: Apache-2.0
"""Information sufficiency between the models that are pruned for three texts.

    python -m benchmarks.systems.sufficiency [--out DIRECTORY]

Writes sufficiency.json and sufficiency.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import prunecore as pc

from benchmarks.harness import report
from benchmarks.harness.places import RESULTS
from benchmarks.harness.record import Record, environment_notes
from benchmarks.systems.parts.subjects import TEXTS, documents, present

SEQUENCES = 16  # of each text to calibrate on, and as many held out
TOKENS = 64


def measure(name: str, path: Path, record: Record) -> dict[str, Any]:
    """Compares the texts on a model: a quarter of its blocks removed, by cosine influence."""
    with pc.open(path) as model:
        tasks = {text: documents(model, text, TOKENS, 0, 2 * SEQUENCES) for text in TEXTS}
        began, busy = time.monotonic(), time.process_time()
        found = pc.compare_tasks(
            model, tasks, "block", "cosine", remove=model.shape.n_blocks // 4, steps=1
        )
        seconds, busy = time.monotonic() - began, time.process_time() - busy
        removed = {
            text: scores.prune(found.max_removed).removed
            for text, scores in zip(found.tasks, found.scores, strict=True)
        }
        before = model.cost().parameter_bytes
        after = model.cost(found.scores[0].prune(found.max_removed)).parameter_bytes
    record.judge(f"{name}: the whole comparison", [seconds], "{:.1f} s")
    return {
        "model": name,
        "seconds": seconds,
        "processor_seconds": busy,
        "removed": removed,
        "parameter_bytes": [before, after],
        "comparison": found.to_dict(),
    }


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Sufficiency",
        "",
        f"Three texts, {SEQUENCES} documents of {TOKENS} tokens of each to calibrate on and as "
        "many held out; a quarter of the blocks removed by cosine influence, their mean updates in "
        "their places.",
        "Made by `python -m benchmarks.systems.sufficiency`.",
        "",
        *report.bar_table(results["rows"]),
    ]
    for found in results["models"]:
        made = found["comparison"]
        tasks, sufficiency = made["tasks"], made["sufficiency"]
        count = sufficiency["n_removed"]
        before, after = found["parameter_bytes"]
        lines += [
            f"## {found['model']}",
            "",
            f"{count} blocks removed ({before:,} to {after:,} bytes of weights); "
            f"{sufficiency['n_samples']:,} tokens of {sufficiency['n_sequences']} sequences, "
            f"{sufficiency['directions']} directions. The whole comparison took "
            f"{found['seconds']:.0f} s, {found['processor_seconds']:.0f} s of processors' time.",
            "",
        ]
        losses = [made["losses"][count][at][at] for at in range(len(tasks))]
        whole = [made["losses"][0][at][at] for at in range(len(tasks))]
        cells = [
            [text, ", ".join(blocks(found["removed"][text])), f"{a:.4f}", f"{b:.4f}"]
            for text, a, b in zip(tasks, whole, losses, strict=True)
        ]
        lines += report.table(["pruned for", "blocks removed", "loss before", "after"], cells)
        for title, matrix, errors in (
            ("Spearman", made["spearman"], None),
            ("sufficiency", sufficiency["matrix"], sufficiency["errors"]),
            ("less the other way", sufficiency["gaps"], sufficiency["gap_errors"]),
        ):
            cells = [
                [text, *(cell(matrix, errors, row, column) for column in range(len(tasks)))]
                for row, text in enumerate(tasks)
            ]
            lines += report.table([title, *tasks], cells)
    return "\n".join([*lines, *report.footer(results)])


def blocks(removed: list[str]) -> list[str]:
    """The blocks of which both sublayers are removed."""
    return [name.split(".")[1] for name in removed if name.startswith("attn")]


def cell(matrix: Any, errors: Any, row: int, column: int) -> str:
    """A number of a matrix, with its error if there is one."""
    value = f"{matrix[row][column]:.4f}"
    if errors is None or row == column:
        return value
    return f"{value} +- {errors[row][column]:.4f}"


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    record = Record()
    notes = environment_notes()
    models = [measure(name, path, record) for name, path in present().items()]
    results = record.results(**notes, library=f"prunecore {pc.__version__}", models=models)
    return report.publish("sufficiency", results, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
