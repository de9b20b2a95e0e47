# SPDX-License-Identifier: Apache-2.0
"""How fast PruneCore is, against transformers and against what the machine can do.

    python -m benchmarks.speed.speed [--rounds N] [--threads N] [--only NAME,NAME]
                                     [--models DIRECTORY] [--name NAME] [--out DIRECTORY]

Makes random Llamas of 246 million and 1.1 billion parameters in bf16, and measures both sides in
turns, each in a process of its own. A comparison counts by the median of the ratios of the rounds.
The exit status is 1 if a bar is missed, or if something could not be measured. Writes speed.json
and speed.md. With --models the models stay there for the next run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.harness import environment, report
from benchmarks.harness.models import SHAPES
from benchmarks.harness.places import RESULTS
from benchmarks.harness.record import Bench, Record, environment_notes, free_bytes
from benchmarks.harness.turns import MeasurementError
from benchmarks.speed.parts import accuracy, coalitions, forward, machine, recovery

SPACE = 4e9  # bytes that the models take, and some more

SECTIONS: dict[str, Callable[[Bench], None]] = {
    "large": forward.large,  # first, while nothing of the model's file is in memory
    "memory": machine.memory,
    "small": forward.small,
    "peak": machine.matrix_peak,
    "decode": machine.decode,
    "threads": machine.two_threads,
    "accuracy": accuracy.accuracy,
    "leave_one_out": coalitions.leave_one_out,
    "shapley": coalitions.shapley,
    "training": recovery.training,
    "closed_form": recovery.closed_form,
}


def measure(bench: Bench, sections: list[str]) -> None:
    """Runs the sections; one that fails is a missed bar, and the others go on."""
    for name in sections:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        start = time.monotonic()
        try:
            SECTIONS[name](bench)
        except (MeasurementError, OSError, subprocess.SubprocessError) as error:
            bench.record.fail(name, str(error))
        print(f"{name} took {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    shapes = ", ".join(
        f"{name} ({s.hidden} wide, {s.blocks} blocks, feed-forward {s.feed_forward}, {s.heads} "
        f"heads, {s.kv_heads} of keys)"
        for name, s in SHAPES.items()
        if name in results["models"]
    )
    return "\n".join(
        [
            "# Speed",
            "",
            f"Llamas with random bf16 weights, {shapes}; 32,000 tokens of vocabulary; one "
            f"sequence; {results['threads']} threads for all sides.",
            f"Median of {results['rounds']} rounds in turns (3 at most for leave-one-out and "
            "Shapley); ratios are taken in each round. Made by `make bench`.",
            "",
            *report.busy(results["timings"]),
            *report.bar_table(results["rows"]),
            *report.timing_table(results["timings"]),
            *report.footer(results),
        ]
    )


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds")
    parser.add_argument("--threads", type=int, default=2, help="threads of all sides")
    parser.add_argument("--only", help=f"sections to measure, of {', '.join(SECTIONS)}")
    parser.add_argument("--models", type=Path, help="where models are kept for the next run")
    parser.add_argument("--name", default="speed", help="of the results")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    sections = arguments.only.split(",") if arguments.only else list(SECTIONS)
    unknown = [name for name in sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]}: they are {', '.join(SECTIONS)}")
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not 1 <= arguments.threads <= environment.processors():
        parser.error(f"--threads must be from 1 to {environment.processors()}, the processors here")
    notes = environment_notes()
    with ExitStack() as stack:
        place = arguments.models
        if place is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place.mkdir(parents=True, exist_ok=True)
        if free_bytes(place) < SPACE:
            parser.error(f"{place} has less than {SPACE / 1e9:.0f} GB free for the models")
        bench = Bench(place, arguments.threads, arguments.rounds, Record())
        measure(bench, sections)
    record = bench.record
    results = record.results(
        **notes,
        threads=arguments.threads,
        rounds=arguments.rounds,
        sections=sections,
        models=["246M", "1.1B"],
    )
    return report.publish(arguments.name, results, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
