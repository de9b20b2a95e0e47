# SPDX-License-Identifier: Apache-2.0
"""What narrower feed-forwards cost in loss, by 2SSP and under a budget of bytes.

    python -m benchmarks.search.narrowing [--quick] [--out DIRECTORY]

tales-12l, and SmolLM2 135M where `make models` has fetched it, as a checkpoint in bf16 of its GGUF
file. 2SSP takes its share of the parameters of all blocks; the bytes that it leaves are the budget
of the others, greedy removal of sublayers alone among them. Searched on sequences of the
three texts of tales-12l, measured on others. The bar: the joint search is at least as good as 2SSP
on text that neither has seen. The exit status is 1 if it is missed. Writes narrowing.json and
narrowing.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prunecore as pc

from benchmarks.harness import report
from benchmarks.harness.places import REPOSITORY, RESULTS, TALES
from benchmarks.harness.record import Record, environment_notes

SMOLLM2 = REPOSITORY / "build" / "models" / "smollm2.gguf"
TEXTS = ("stories", "maths", "plays")
SHARES = (0.25, 0.375)
LENGTH = 128


@dataclass(frozen=True)
class Subject:
    """A model, what is searched on, what is measured on, and how: rounds, and left out methods."""

    name: str
    model: pc.Model
    searched: pc.Data
    held_out: pc.Data
    rounds: int
    left_out: tuple[str, ...] = ()


def texts(model: pc.Model, searched: int, held_out: int) -> tuple[pc.Data, pc.Data]:
    """So many sequences of each text to search on, and others to measure on."""
    found: tuple[list[pc.Data], list[pc.Data]] = ([], [])
    for name in TEXTS:
        own = pc.Data.from_file(
            TALES / f"{name}.jsonl", model, LENGTH, limit=searched + held_out, seed=0
        )
        found[0].append(own[:searched])
        found[1].append(own[searched:])
    return pc.Data.concatenate(found[0]), pc.Data.concatenate(found[1])


def methods(share: float, rounds: int) -> dict[str, Callable[[pc.Model, pc.Data, int], Any]]:
    """What is compared, by name: each given the model, data, and the bytes that 2SSP leaves."""
    return {
        "2ssp": lambda model, data, _: model.search(data, "2ssp", sparsity=share),
        "narrow": lambda model, data, left: model.search(
            data, "narrow", parameter_bytes=left, rounds=rounds
        ),
        "narrow, uniform": lambda model, data, left: model.search(
            data, "narrow", parameter_bytes=left, rounds=rounds, uniform=True
        ),
        "narrow, uniform, whole blocks": lambda model, data, left: model.search(
            data, "narrow", "block", parameter_bytes=left, rounds=rounds, uniform=True
        ),
        "greedy (sublayers alone)": lambda model, data, left: model.search(
            data, "greedy", parameter_bytes=left, exchanges=0
        ),
    }


def measure(subject: Subject, record: Record, rows: list[dict[str, Any]]) -> None:
    """Runs every method at every share, and judges the joint search."""
    whole = subject.model.evaluate(subject.held_out).loss
    start = subject.model.evaluate(subject.searched).loss
    size = subject.model.cost().parameter_bytes
    note(rows, subject.name, 0.0, "whole model", start, whole, size)
    for share in SHARES:
        losses: dict[str, float] = {}
        left = 0
        for how, search in methods(share, subject.rounds).items():
            if how in subject.left_out:
                continue
            began = time.monotonic()
            found = search(subject.model, subject.searched, left)
            seconds = time.monotonic() - began
            with subject.model.edited(found.mask) as narrowed:
                held = narrowed.evaluate(subject.held_out, found.mask).loss
                size = narrowed.cost(found.mask).parameter_bytes
            left = size if how == "2ssp" else left
            losses[how] = held
            kept = [
                width
                for block, width in enumerate(found.provenance.get("widths", []))
                if found.mask.keep[2 * block + 1]
            ]
            note(
                rows, subject.name, share, how, found.damage, held, size,
                seconds=seconds, removed=len(found.removed), widths=[min(kept), max(kept)]
                if kept else [],
            )  # fmt: skip
        what = f"{subject.name}, {share:.1%}: held-out loss of narrow below that of 2ssp"
        record.judge(what, [losses["2ssp"] - losses["narrow"]], "{:.4f} nats", least=0.0)


def note(
    rows: list[dict[str, Any]],
    model: str,
    share: float,
    how: str,
    loss: float,
    held_out: float,
    size: int,
    **more: Any,
) -> None:
    """Adds a row, and tells of it."""
    rows.append(
        {
            "model": model,
            "share": share,
            "how": how,
            "loss": loss,
            "held_out": held_out,
            "parameter_bytes": size,
            **more,
        }
    )
    print(f"{model} {share:.1%} {how}: {held_out:.4f}", file=sys.stderr, flush=True)


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Narrower feed-forwards",
        "",
        f"{results['sequences']} Sequences of {LENGTH} tokens; loss in nats per token.",
        "Made by `python -m benchmarks.search.narrowing`.",
        "",
        *report.bar_table(results["rows"]),
    ]
    for name in dict.fromkeys(row["model"] for row in results["rows_found"]):
        cells = []
        for row in (own for own in results["rows_found"] if own["model"] == name):
            widths = row.get("widths") or []
            spread = " to ".join(dict.fromkeys(map(str, widths)))
            cells.append(
                [
                    f"{row['share']:.1%}" if row["share"] else "",
                    row["how"],
                    f"{row['loss']:.3f}",
                    f"{row['held_out']:.3f}",
                    f"{row['parameter_bytes'] / 1e6:.2f}",
                    str(row.get("removed", "")),
                    spread,
                    f"{row['seconds']:.0f}" if "seconds" in row else "",
                ]
            )
        head = [
            *("share gone", name, "loss searched on", "held-out loss", "MB"),
            *("sublayers gone", "neurons", "seconds"),
        ]
        lines += report.table(head, cells)
    return "\n".join([*lines, *report.footer(results)])


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tales-12l alone")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    record, rows = Record(), []
    notes = environment_notes()
    said = "tales-12l: 4 of each of three texts to search on, 32 to measure."
    with pc.open(TALES) as model:
        measure(Subject("tales-12l", model, *texts(model, 4, 32), 6), record, rows)
    if not arguments.quick and SMOLLM2.is_file():
        said += " SmolLM2: 1 of each, and 8."
        with tempfile.TemporaryDirectory() as folder:
            with pc.open(SMOLLM2) as stored:
                stored.export(Path(folder) / "bf16")
            with pc.open(Path(folder) / "bf16") as model:
                own = texts(model, 1, 8)
                slow = ("greedy (sublayers alone)", "narrow, uniform, whole blocks")
                measure(Subject("SmolLM2-135M", model, *own, 3, left_out=slow), record, rows)
    results = record.results(
        **notes, library=f"prunecore {pc.__version__}", sequences=said, rows_found=rows
    )
    return report.publish("narrowing", results, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
