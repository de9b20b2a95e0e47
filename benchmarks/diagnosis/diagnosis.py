# SPDX-License-Identifier: Apache-2.0
"""What diagnoses say of tales-12l and of SmolLM2 135M, and what they take.

    python -m benchmarks.diagnosis.diagnosis [--out DIRECTORY] [--pictures DIRECTORY]

On the first sequences of 128 tokens of the three texts, in fp32, so that the numbers are the same
on every CPU. SmolLM2 is left out where build/models/smollm2.gguf is missing (`make models`). What
the verdict names is removed, all at once, and measured on the sequences that follow. Writes
diagnosis.json, diagnosis.md and the picture of docs/diagnose.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import prunecore as pc

from benchmarks.harness import report
from benchmarks.harness.places import REPOSITORY, RESULTS, TALES
from benchmarks.harness.record import Record, environment_notes

TEXTS = tuple(TALES / f"{text}.jsonl" for text in ("stories", "maths", "plays"))
MODELS = {"tales-12l": TALES, "SmolLM2 135M": REPOSITORY / "build" / "models" / "smollm2.gguf"}
PICTURED = "SmolLM2 135M"
SEQUENCE = 128
MEASURED, HELD_OUT = 6, 6
PASS = "one pass, with its losses"


class Stages:
    """Seconds of each stage of a call, by the first report of each."""

    def __init__(self) -> None:
        self._began: list[tuple[str, float]] = []

    def __call__(self, stage: str, *_: object) -> None:
        if not self._began or self._began[-1][0] != stage:
            self._began.append((stage, time.monotonic()))

    def seconds(self) -> dict[str, float]:
        """Now that the call has ended."""
        ends = [*(start for _, start in self._began[1:]), time.monotonic()]
        return {stage: end - start for (stage, start), end in zip(self._began, ends, strict=True)}


def diagnosed(name: str, directory: Path, record: Record) -> tuple[pc.Diagnosis, dict[str, Any]]:
    """The diagnosis of a model, and what removing its identities does."""
    with pc.open(directory, compute="float32") as model:
        both = pc.Data.from_file(list(TEXTS), model, SEQUENCE, limit=MEASURED + HELD_OUT)
        # The texts come one after the other: every second sequence of each.
        data, held_out = (both.select(range(start, len(both), 2)) for start in (0, 1))
        began = time.monotonic()
        model.evaluate(data)
        took = {PASS: time.monotonic() - began}
        stages = Stages()
        found = model.diagnose(data, progress=stages)
        took |= stages.seconds()
        for stage, seconds in took.items():
            record.judge(f"{name}: {stage}", [seconds], "{:.1f} s")
        removals = []
        for verdict in (found.verdict(), found.verdict("sublayer")):
            if not verdict.units:
                continue
            mask = pc.Mask.remove(verdict.units, model.shape.n_blocks)
            removals.append(
                {
                    "granularity": verdict.granularity,
                    "units": list(verdict.units),
                    "loss": model.evaluate(held_out).loss,
                    "loss_without": model.evaluate(held_out, mask).loss,
                    "parameter_bytes": model.cost().parameter_bytes,
                    "parameter_bytes_without": model.cost(mask).parameter_bytes,
                }
            )
    return found, {"diagnosis": found.to_dict(), "removals": removals, "seconds": took}


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Diagnoses",
        "",
        f"In fp32, on {MEASURED} sequences of {SEQUENCE} tokens of the texts beside tales-12l; "
        f"what is removed is measured on {HELD_OUT} others. Loss in nats per token.",
        "Made by `python -m benchmarks.diagnosis.diagnosis`.",
        "",
        *report.bar_table(results["rows"]),
    ]
    for name, each in results["models"].items():
        lines += [f"## {name}", ""]
        for verdict in each["diagnosis"]["verdict"].values():
            lines += [verdict["sentence"], ""]
        lines += blocks(each["diagnosis"])
        lines += removals(each["removals"])
    return "\n".join([*lines, *report.footer(results)])


def blocks(found: dict[str, Any]) -> list[str]:
    """One row per block."""
    head = [
        "block",
        "variance after it",
        "the same, one token",
        "angular distance (pi)",
        "gradient before it",
        "its change",
        "loss without it",
    ]
    rows = [
        [
            str(block),
            f"{found['state_variance'][2 * block + 2]:.4g}",
            f"{found['token_variance'][2 * block + 2]:.4g}",
            f"{found['angular'][0][block]:.3f}",
            f"{found['gradient_norm'][block]:.3f}",
            f"{found['gradient_change'][block]:.3f}",
            f"{found['loss_increase'][block]:+.4f}",
        ]
        for block in range(found["n_blocks"])
    ]
    return report.table(head, rows)


def removals(found: list[dict[str, Any]]) -> list[str]:
    """What removing all identities at once does."""
    head = ["identities removed", "units", "loss", "loss without", "bytes", "bytes without"]
    rows = [
        [
            f"{each['granularity']}s",
            str(len(each["units"])),
            f"{each['loss']:.4f}",
            f"{each['loss_without']:.4f}",
            f"{each['parameter_bytes']:,}",
            f"{each['parameter_bytes_without']:,}",
        ]
        for each in found
    ]
    return report.table(head, rows) if rows else []


def main() -> int:
    """Measures, writes results and picture, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    parser.add_argument(
        "--pictures",
        type=Path,
        default=REPOSITORY / "docs" / "images",
        help="where the picture goes",
    )
    arguments = parser.parse_args()
    record, found = Record(), {}
    notes = environment_notes()
    for name, directory in MODELS.items():
        if not directory.exists():
            print(f"{name} is left out: there is no {directory}", file=sys.stderr)
            continue
        diagnosis, found[name] = diagnosed(name, directory, record)
        if name == PICTURED:
            diagnosis.plot(arguments.pictures / "diagnosis-angular.png", kind="angular")
    results = record.results(**notes, library=f"prunecore {pc.__version__}", models=found)
    return report.publish("diagnosis", results, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
