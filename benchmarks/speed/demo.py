# SPDX-License-Identifier: Apache-2.0
"""How long `prunecore demo` takes, as a user starts it.

    python -m benchmarks.speed.demo [--rounds N] [--out DIRECTORY]

The process is timed as a whole, from its start to its end, pictures included. The exit status is 1
if it takes longer than the demo promises. Writes demo.json and demo.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import prunecore as pc

from benchmarks.harness import environment, report
from benchmarks.harness.places import REPOSITORY, RESULTS
from benchmarks.harness.record import Record, environment_notes

MOST = 120.0  # seconds, on two cores that do nothing else


def demo_seconds() -> float:
    """Runs the demo once; seconds from start to end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "prunecore", "demo", "--out", f"{folder}/out", "--json"]
        start = time.perf_counter()
        subprocess.run(
            command, cwd=REPOSITORY, env=environment.cleaned(), check=True, capture_output=True
        )
        return time.perf_counter() - start


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    record = Record()
    taken = [demo_seconds() for _ in range(arguments.rounds)]
    record.judge("prunecore demo", taken, "{:.0f} s", most=MOST)
    results = record.results(
        **environment_notes(),
        rounds=arguments.rounds,
        library=f"prunecore {pc.__version__}",
    )
    lines = [
        "# The demo",
        "",
        f"`prunecore demo` on the embedded model, the whole process, {arguments.rounds} times.",
        "Made by `python -m benchmarks.speed.demo`.",
        "",
        *report.bar_table(record.rows),
        *report.footer(results),
    ]
    return report.publish("demo", results, "\n".join(lines), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
