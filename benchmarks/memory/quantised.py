# SPDX-License-Identifier: Apache-2.0
"""Scores a model of 7 billion parameters in Q4_K within 5 GB of memory, its weights mapped.

    python -m benchmarks.memory.quantised [--blocks N] [--memory BYTES] [--tokens N]
                                          [--out DIRECTORY]

Writes a random Llama of 3.8 GB as a GGUF file, limits a process to 5 GB of memory, the page cache
of what it reads included, and has it compute the static metrics, twice. The weights fit: nothing is
streamed, and the second time next to nothing may be read from storage. Needs root and Linux control
groups; the exit status is 1 if a bar is missed, 2 if nothing could be measured. Writes
quantised_memory.json and .md.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import gguf_models, memory_limit, report
from benchmarks.harness.models import SHAPES
from benchmarks.harness.places import RESULTS
from benchmarks.harness.record import Record, environment_notes
from benchmarks.harness.turns import MeasurementError, Worker

NAME, TYPE = "7B", "Q4_K"
MEMORY = 5e9
READ_AGAIN = 0.05  # of the file, by a second pass


def measure(record: Record, path: Path, memory: int, tokens: int, threads: int) -> None:
    """Two passes in one process under the limit."""
    memory_limit.forget(path.parent)
    size = path.stat().st_size
    with memory_limit.limited(memory) as limit:
        worker = Worker(
            limit.prefix,
            side="prunecore",
            model=path,
            threads=threads,
            tokens=tokens,
            sequences=4,
        )
        try:
            record.sides["prunecore"] = worker.ready
            for title, most in (("first pass", 1.2), ("second pass", READ_AGAIN)):
                before = worker.ask("read_bytes")["value"]
                answer = worker.ask("static")
                read = worker.ask("read_bytes")["value"] - before
                if not answer["value"] or not all(map(math.isfinite, answer["value"])):
                    raise MeasurementError(f"the static metrics are {answer['value']}")
                what = f"{title} of 4 x {tokens} tokens"
                record.judge(f"{what}: time", [answer["seconds"]], "{:.1f} s")
                row = f"{what}: bytes read from storage, of the file's"
                record.judge(row, [read / size], "{:.3f}x", most=most)
        finally:
            worker.close()
        peak = limit.peak_bytes()
        if peak is not None:
            row = "peak of memory, cache included"
            record.judge(row, [peak / 1e9], "{:.2f} GB", most=memory / 1e9)


def main() -> int:
    """Writes the model, measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=SHAPES[NAME].blocks)
    parser.add_argument("--memory", type=float, default=MEMORY, help="bytes")
    parser.add_argument("--tokens", type=int, default=512, help="of each sequence")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    record, notes = Record(), environment_notes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        try:
            with memory_limit.limited(int(arguments.memory)):
                pass  # before minutes of writing: whether it can be done at all
            gguf_models.write(path, TYPE, replace(SHAPES[NAME], blocks=arguments.blocks))
            measure(record, path, int(arguments.memory), arguments.tokens, arguments.threads)
            size = path.stat().st_size
        except (MeasurementError, OSError, subprocess.SubprocessError) as error:
            print(f"quantised: {error}", file=sys.stderr)
            return 2
    results = record.results(
        **notes, threads=arguments.threads, blocks=arguments.blocks, file_bytes=size
    )
    lines = [
        "# A quantised model in little memory",
        "",
        f"A random Llama of {arguments.blocks} blocks, {size / 1e9:.1f} GB in {TYPE}, in a control "
        f"group of {arguments.memory / 1e9:.1f} GB.",
        "Made by `python -m benchmarks.memory.quantised`.",
        "",
        *report.bar_table(record.rows),
        *report.footer(results),
    ]
    return report.publish("quantised_memory", results, "\n".join(lines), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
