# SPDX-License-Identifier: Apache-2.0
"""A step of training weights that were kept, against PyTorch on the CPU: time, and peak memory.

    python -m benchmarks.speed.healing [--model 246M] [--rounds N] [--length N] [--sequences N]
                                  [--out DIRECTORY]

A random Llama without its last quarter of blocks; head, final norm and the last three blocks that
are left are trained on the loss of the text, as "Reassessing layer pruning" does. Each side runs in
a process of its own, on the same tokens: `Model.heal` of the library in bf16 and in fp32;
`prunecore.torch` over transformers in fp32; and loops over transformers in fp32, with and without
bf16 autocast. They take turns, and each round gives a ratio. The library in bf16 is to be at least
as fast as the autocast. The exit status is 1 if a bar is missed. Writes healing_speed.json and
healing_speed.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import prunecore as pc

from benchmarks.harness import environment, report
from benchmarks.harness.models import SHAPES
from benchmarks.harness.places import REPOSITORY, RESULTS
from benchmarks.harness.record import Bench, Record, environment_notes
from benchmarks.harness.turns import Answer, MeasurementError, Worker, in_turns, ratios

LAST = 3
TRAIN = ["head", "final_norm", f"last:{LAST}"]
STEPS = 3  # of a call in each round; the first one is not timed
SAME_LOSS = 0.01  # relative: all begin from the same weights
OURS, OURS_FP32, DOOR = "prunecore bf16", "prunecore fp32", "prunecore.torch fp32"
AUTOCAST, FP32 = "torch bf16 autocast", "torch fp32"


def called(side: Worker, **wanted: Any) -> Answer:
    """A call of `Model.heal`: the median of its steps, and the loss before the first."""
    found = side.ask("healing_steps", train=TRAIN, steps=STEPS, **wanted)["value"]
    return {"seconds": statistics.median(found["seconds"]), "value": found["losses"][0]}


def measure(bench: Bench, model: str, length: int, sequences: int) -> None:
    """All sides of one model."""
    removed = SHAPES[model].blocks // 4
    wanted = {
        DOOR: bench.torch(model, length, "float32"),
        FP32: bench.torch(model, length, "float32"),
        AUTOCAST: bench.torch(model, length, "float32"),
    }
    if hasattr(pc.Model, "heal"):
        wanted[OURS] = bench.ours(model, length, "bfloat16", sequences=sequences)
        wanted[OURS_FP32] = bench.ours(model, length, "float32", sequences=sequences)
    with bench.running(wanted) as sides:
        common = {"removed": removed, "sequences": sequences}
        plain = {**common, "last": LAST}
        tasks: dict[str, Any] = {
            name: lambda name=name: called(sides[name], **common)
            for name in (OURS, OURS_FP32, DOOR)
            if name in sides
        }
        for name, autocast in ((AUTOCAST, True), (FP32, False)):
            tasks[name] = lambda name=name, autocast=autocast: sides[name].ask(
                "healing_step", **plain, autocast=autocast
            )
        first = {name: task()["value"] for name, task in tasks.items()}
        answers = in_turns(tasks, bench.rounds, 1)
        peaks = {name: sides[name].ask("peak_bytes")["value"] for name in tasks}
    least, most = min(first.values()), max(first.values())
    if not most - least <= SAME_LOSS * most:
        raise MeasurementError(f"the sides find other losses: {first}")
    what = f"{model} without {removed} blocks, {sequences} x {length} tokens"
    taken = {name: bench.record.time(f"{name}, {what}", found) for name, found in answers.items()}
    for name, peak in peaks.items():
        bench.record.judge(f"{name}: peak memory", [peak / 1e6], "{:.0f} MB")
    for ours, theirs, least_ratio in (
        (OURS, AUTOCAST, 1.0),
        (OURS, FP32, None),
        (OURS_FP32, FP32, None),
        (DOOR, FP32, None),
    ):
        if ours in taken:
            row = f"{what}: {ours} against {theirs}"
            bench.record.judge(
                row, ratios(taken[theirs], taken[ours]), "{:.2f}x", least=least_ratio
            )
    if OURS not in taken:
        bench.record.notes["library"] = "this build has no Model.heal: the doors of PyTorch alone"


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=list(SHAPES), default="246M")
    parser.add_argument("--models", type=Path, default=REPOSITORY / "build" / "benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--length", type=int, default=256, help="tokens of a sequence")
    parser.add_argument("--sequences", type=int, default=8, help="of a step")
    parser.add_argument("--threads", type=int, default=environment.processors())
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    record = Record()
    bench = Bench(arguments.models, arguments.threads, arguments.rounds, record)
    measure(bench, arguments.model, arguments.length, arguments.sequences)
    results = record.results(
        **environment_notes(), rounds=arguments.rounds, threads=arguments.threads
    )
    lines = [
        "# Training of weights that were kept",
        "",
        "A step of AdamW on head, final norm and the last three blocks of a random Llama without "
        "its last quarter;",
        f"medians of {arguments.rounds} rounds in turns, each side in a process of its own with "
        f"{arguments.threads} threads.",
        "2.00x is twice as fast. Made by `python -m benchmarks.speed.healing`.",
        "",
        *report.busy(record.timings),
        *report.bar_table(record.rows),
        *report.timing_table(record.timings),
        *report.footer(results),
    ]
    return report.publish("healing_speed", results, "\n".join(lines), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
