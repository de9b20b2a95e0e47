# SPDX-License-Identifier: Apache-2.0
"""What a call of a host costs before the host computes anything, from C and from Python.

    python -m benchmarks.doors.callbacks [--blocks N] [--rounds N] [--out DIRECTORY]

A host whose sublayers do nothing is run over many blocks with one token: every sublayer is a call
that applies it and one that lets the state before it go. All the time that passes is counted, what
the library does between calls included, and divided by the calls. The exit status is 1 if a bar is
missed. Writes callbacks.json and callbacks.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import prunecore as pc
from prunecore._native.library import LIBRARY_PATH

from benchmarks.harness import report
from benchmarks.harness.places import REPOSITORY, RESULTS
from benchmarks.harness.record import Record, environment_notes
from benchmarks.harness.turns import Answer, MeasurementError, in_turns

HERE = Path(__file__).resolve().parent
PYTHON_MOST = 20.0  # microseconds a call
C_MOST = 1.0
PASSES = 5  # of each round; the median counts


class IdleHost(pc.Host):
    """Gives every state again as it came."""

    hidden_size = vocabulary_size = 1

    def __init__(self, blocks: int) -> None:
        self.n_blocks = blocks
        self.calls = 0

    def embed(self, batch):
        self.calls += 1
        return self

    def apply(self, sublayer, states):
        self.calls += 1 + len(states)  # and a release each
        return states

    def read(self, state):
        self.calls += 2
        return np.ones((1, 1), dtype=np.float32)


@contextmanager
def c_host(blocks: int) -> Iterator[list[str]]:
    """The command that runs the host in C, built against the library in use."""
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        raise MeasurementError("no C compiler to build callbacks_host.c with")
    with tempfile.TemporaryDirectory() as directory:
        program = f"{directory}/callbacks_host"
        library = Path(LIBRARY_PATH).resolve()
        include = f"-I{REPOSITORY / 'include'}"
        linked = [str(library), f"-Wl,-rpath,{library.parent}"]
        sources = [str(HERE / "callbacks_host.c"), "-o", program]
        subprocess.run([compiler, "-std=c99", "-O2", include, *sources, *linked], check=True)
        yield [program, str(blocks), str(PASSES)]


def ask_c(command: list[str]) -> Answer:
    """Microseconds a call of the host in C."""
    start = time.perf_counter()
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    passes = [line.split() for line in said.splitlines()]
    each = [1e6 * float(seconds) / int(calls) for seconds, calls in passes]
    return {"seconds": time.perf_counter() - start, "value": float(np.median(each))}


def ask_python(model: pc.HostModel, data: pc.Data) -> Answer:
    """Microseconds a call of the host in Python."""
    host = model.host
    assert isinstance(host, IdleHost)
    start = time.perf_counter()
    each = []
    for _ in range(PASSES):
        host.calls = 0
        begin = time.perf_counter()
        model.hidden_states(data, 2 * host.n_blocks)
        each.append(1e6 * (time.perf_counter() - begin) / host.calls)
    return {"seconds": time.perf_counter() - start, "value": float(np.median(each))}


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    blocks = arguments.blocks
    with pc.from_host(IdleHost(blocks)) as model, c_host(blocks) as command:
        data = pc.Data([[0]])
        tasks = {"C": lambda: ask_c(command), "Python": lambda: ask_python(model, data)}
        answers = in_turns(tasks, arguments.rounds, 1)
    record = Record()
    for name, most in (("C", C_MOST), ("Python", PYTHON_MOST)):
        values = [answer["value"] for answer in answers[name]]
        record.judge(f"a call of a host in {name}", values, "{:.2f} us", most=most)
    results = record.results(
        **environment_notes(),
        blocks=blocks,
        rounds=arguments.rounds,
        library=f"prunecore {pc.__version__}",
    )
    lines = [
        "# Callbacks",
        "",
        "What a call of a host costs that computes nothing, with what the library does between two "
        "calls:",
        f"one pass over {blocks} blocks and one token, half of the calls `apply`, half `release`. "
        f"Medians of {PASSES}",
        f"passes, of {arguments.rounds} rounds in turns.",
        "Made by `python -m benchmarks.doors.callbacks`.",
        "",
        *report.bar_table(record.rows),
        *report.footer(results),
    ]
    return report.publish("callbacks", results, "\n".join(lines), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
