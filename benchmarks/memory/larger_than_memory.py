# SPDX-License-Identifier: Apache-2.0
"""Scores a model of 7 billion parameters in a third of the memory that its weights take.

    python -m benchmarks.memory.larger_than_memory [--blocks N] [--memory BYTES] [--tokens N]
                                                   [--keep] [--models DIRECTORY] [--out DIRECTORY]

Writes a random Llama of 13.5 GB, limits a process to 4 GB of memory, the page cache of what it
reads included, and has it compute the static metrics and leave-one-out. What counts is how much it
reads from storage: a pass over the blocks should read every weight once, however many sequences and
masks are computed. Needs root and Linux control groups; the exit status is 1 if a bar is missed, 2
if nothing could be measured. Writes larger_than_memory.json and .md. For a trial: --blocks 4
--memory 1e9 --tokens 64.
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.harness import memory_limit, models, report
from benchmarks.harness.models import SHAPES
from benchmarks.harness.places import RESULTS
from benchmarks.harness.record import Record, environment_notes, free_bytes
from benchmarks.harness.turns import MeasurementError, Worker

NAME = "7B"
MEMORY = 4e9
READ_AT_MOST = 1.2  # of the file, by a pass over the blocks
# Less than this, and it was not read from storage; head and embeddings are not used by every task.
READ_AT_LEAST = 0.7
SPARE = 2e9  # bytes of disk

# What is computed: title, sequences, command of the worker, its arguments.
TASKS: list[tuple[str, int, str, dict[str, Any]]] = [
    ("static metrics of data", 4, "static", {}),
    ("magnitude", 1, "magnitude", {}),
    ("leave-one-out, blocks", 1, "leave_one_out", {"granularity": "block"}),
]


def measure(record: Record, directory: Path, memory: int, tokens: int, threads: int) -> None:
    """Every task in a process and a control group of its own, with the files out of memory."""
    size = models.file_bytes(directory)
    for title, sequences, command, arguments in TASKS:
        what = title if command == "magnitude" else f"{title}, {sequences} x {tokens} tokens"
        print(f"measuring: {what}", file=sys.stderr, flush=True)
        try:
            found = task(directory, memory, tokens, threads, sequences, command, arguments)
        except MeasurementError as error:
            record.fail(what, str(error))
            continue
        record.sides.setdefault("prunecore", found["ready"])
        record.judge(f"{what}: time", [found["seconds"]], "{:.1f} s")
        peak = found["peak_bytes"]
        if peak is not None:
            record.judge(f"{what}: peak of memory, cache included", [peak / 1e9], "{:.2f} GB")
        read = found["read_bytes"] / size
        if read < READ_AT_LEAST:
            record.fail(f"{what}: read", f"only {read:.2f} of the files: the rest was in memory")
            continue
        row = f"{what}: bytes read from storage, of the files'"
        record.judge(row, [read], "{:.3f}x", most=READ_AT_MOST)


def task(
    directory: Path,
    memory: int,
    tokens: int,
    threads: int,
    sequences: int,
    command: str,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """One task under the limit: what it took and what it read."""
    memory_limit.forget(directory)
    with memory_limit.limited(memory) as limit:
        worker = Worker(
            limit.prefix,
            side="prunecore",
            model=directory,
            threads=threads,
            tokens=tokens,
            sequences=sequences,
        )
        try:
            before = worker.ask("read_bytes")["value"]
            answer = worker.ask(command, **arguments)
            read = worker.ask("read_bytes")["value"] - before
        finally:
            worker.close()
        values = answer["value"]
        if not values or not all(math.isfinite(value) for value in values):
            raise MeasurementError(f"{command} gave {values}")
        return {
            "ready": worker.ready,
            "seconds": answer["seconds"],
            "read_bytes": read,
            "peak_bytes": limit.peak_bytes(),
        }


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    return "\n".join(
        [
            "# A model larger than memory",
            "",
            f"A Llama of {results['blocks']} blocks, {results['file_bytes'] / 1e9:.1f} GB of "
            f"random bf16 weights, in a control group of {results['memory_bytes'] / 1e9:.1f} GB;",
            f"{results['threads']} threads. Each task is a process of its own that begins with "
            "nothing of the files in memory. Made by `make bench-large`.",
            "",
            *report.bar_table(results["rows"]),
            *report.footer(results),
        ]
    )


def main() -> int:
    """Writes the model, measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=SHAPES[NAME].blocks)
    parser.add_argument("--memory", type=float, default=MEMORY, help="bytes")
    parser.add_argument("--tokens", type=int, default=512, help="of each sequence")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="keep the model for the next run")
    parser.add_argument("--models", type=Path, help="where the model is written")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    shape = replace(SHAPES[NAME], blocks=arguments.blocks)
    place = arguments.models or Path(tempfile.gettempdir()) / "prunecore-bench-models"
    place.mkdir(parents=True, exist_ok=True)
    directory = place / f"{NAME}-{arguments.blocks}-blocks"
    needed = models.BYTES * shape.parameters + SPARE
    if not (directory / "config.json").exists() and free_bytes(place) < needed:
        parser.error(f"{place} has less than {needed / 1e9:.1f} GB free; see --models")
    record, notes, start = Record(), environment_notes(), time.monotonic()
    try:
        with memory_limit.limited(int(arguments.memory)):
            pass  # before minutes of writing: whether it can be done at all
        models.made(NAME, directory, arguments.blocks)
        record.notes["writing the model"] = f"{time.monotonic() - start:.0f} s"
        size = models.file_bytes(directory)
        measure(record, directory, int(arguments.memory), arguments.tokens, arguments.threads)
    except (MeasurementError, OSError, subprocess.SubprocessError) as error:
        print(f"larger_than_memory: {error}", file=sys.stderr)
        return 2
    finally:
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
    results = record.results(
        **notes,
        threads=arguments.threads,
        blocks=arguments.blocks,
        file_bytes=size,
        memory_bytes=int(arguments.memory),
    )
    return report.publish("larger_than_memory", results, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
