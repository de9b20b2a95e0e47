# SPDX-License-Identifier: Apache-2.0
"""What a pruned model gains: tokens a second and key-value cache, here and in transformers.

    python -m benchmarks.speed.pruned_speed [--prompt N] [--new N] [--rounds N] [--threads N]
                                      [--models DIRECTORY] [--out DIRECTORY]

A random Llama of 246 million parameters in bf16 reads a prompt and writes on, whole and without a
third of its attention layers. transformers runs the module that `prunecore.torch` took them out of.
Both sides in turns, each in a process of its own. The exit status is 1 if a bar is missed. Writes
pruned_speed.json and pruned_speed.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import environment, report
from benchmarks.harness.models import SHAPES
from benchmarks.harness.places import RESULTS
from benchmarks.harness.record import Bench, Record, environment_notes
from benchmarks.harness.turns import MeasurementError, in_turns, ratios
from benchmarks.speed.parts.forward import OURS, SAME_LOSS, TORCH

MODEL = "246M"
REMOVED = (2, 5, 8, 11, 14)  # blocks without attention: a third of 16
FULL, PRUNED = "full", "pruned"


def measure(bench: Bench, prompt: int, new: int) -> None:
    """Speeds and caches of both sides, full and pruned."""
    wanted = {
        OURS: bench.ours(MODEL, prompt, "bfloat16"),
        TORCH: bench.torch(MODEL, prompt, "bfloat16"),
    }
    kinds: dict[str, list[int]] = {FULL: [], PRUNED: list(REMOVED)}
    with bench.running(wanted) as sides:
        for kind, blocks in kinds.items():
            told = [worker.ask("loss_without", blocks=blocks) for worker in sides.values()]
            same_model(kind, [answer["value"] for answer in told])
        answers = in_turns(
            {
                (side, kind): lambda w=worker, b=blocks: w.ask(
                    "write", prompt_tokens=prompt, new_tokens=new, blocks=b
                )
                for side, worker in sides.items()
                for kind, blocks in kinds.items()
            },
            bench.rounds,
            1,
        )
    record = bench.record
    found = {task: [answer["value"] for answer in own] for task, own in answers.items()}
    kept = (SHAPES[MODEL].blocks - len(REMOVED)) / SHAPES[MODEL].blocks
    for phase in ("prefill", "decode"):
        speeds = {task: [value[phase] for value in values] for task, values in found.items()}
        for side in sides:
            for kind in kinds:
                record.judge(f"{phase}, {side}, {kind}", speeds[side, kind], "{:.1f} tokens/s")
            gain = ratios(speeds[side, PRUNED], speeds[side, FULL])
            bar = {"least": 1.0} if side == OURS else {}
            record.judge(f"{phase}, {side}: pruned against full", gain, "{:.3f}x", **bar)
        for kind in kinds:
            name = f"{phase}, {kind}: ours against transformers"
            record.judge(name, ratios(speeds[OURS, kind], speeds[TORCH, kind]), "{:.2f}x")
    for side in sides:
        caches = {kind: float(found[side, kind][0]["kv_bytes"]) for kind in kinds}
        for kind, size in caches.items():
            record.judge(f"key-value cache, {side}, {kind}", [size / 1e6], "{:.2f} MB")
        share = caches[PRUNED] / caches[FULL]
        name = f"key-value cache, {side}: pruned of full"
        record.judge(name, [share], "{:.2%}", most=kept)


def same_model(kind: str, losses: list[float]) -> None:
    """Raises `MeasurementError` if the sides do not compute the same model."""
    ours, theirs = losses
    if abs(ours - theirs) > SAME_LOSS * theirs:
        raise MeasurementError(f"the {kind} models differ: losses {ours:.5f} and {theirs:.5f}")


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# A pruned model",
        "",
        f"A random Llama of {MODEL} parameters in bf16, {results['threads']} threads of both "
        f"sides: a prompt of {results['prompt']} tokens and",
        f"{results['new']} new ones, with all attention layers and without those of the blocks "
        f"{', '.join(map(str, REMOVED))} of 0 to {SHAPES[MODEL].blocks - 1}.",
        "Keys and values are fp32 in PruneCore, bf16 in transformers. Medians of "
        f"{results['rounds']} rounds in turns; ratios are taken in each round.",
        "Made by `python -m benchmarks.speed.pruned_speed`.",
        "",
        *report.bar_table(results["rows"]),
        *report.footer(results),
    ]
    return "\n".join(lines)


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompt", type=int, default=512, help="tokens")
    parser.add_argument("--new", type=int, default=64, help="tokens")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=environment.processors())
    parser.add_argument("--models", type=Path, help="where models are kept for the next run")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    notes = environment_notes()
    record = Record()
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.models or Path(temporary)
        bench = Bench(place, arguments.threads, arguments.rounds, record)
        try:
            measure(bench, arguments.prompt, arguments.new)
        except (MeasurementError, OSError, subprocess.SubprocessError) as error:
            record.fail("a pruned model", str(error))
    results = record.results(
        **notes,
        threads=arguments.threads,
        rounds=arguments.rounds,
        prompt=arguments.prompt,
        new=arguments.new,
    )
    return report.publish("pruned_speed", results, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
