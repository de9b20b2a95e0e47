# SPDX-License-Identifier: Apache-2.0
"""Runs benchmarks one after the other, all of them even if one misses its bar, and sums them up.

    python benchmarks/run.py [--only NAME[,NAME]] [--list] [--held-out FILE] [-- OPTION ...]

Options after `--` go to the benchmark, of which there must then be one. The exit status is 0 if
every benchmark's own was 0, else 1. Each writes its results to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: its module, whether `make bench` runs it, and the options it then gets."""

    module: str
    of_all: bool = True
    options: tuple[str, ...] = ()
    keeps_core_type: bool = False  # takes OPENBLAS_CORETYPE away from what it measures itself

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", f"benchmarks.{self.module}", *self.options]

    def environment(self) -> dict[str, str]:
        """What it runs in: with the BLAS kernels that fit the CPU."""
        kept = dict(os.environ)
        if not self.keeps_core_type:
            kept.pop("OPENBLAS_CORETYPE", None)
        return kept


BENCHMARKS = {
    "speed": Benchmark("speed.speed", keeps_core_type=True),
    "recovery": Benchmark("recovery.recovery"),
    "healing": Benchmark("recovery.healing"),
    "healing_speed": Benchmark("speed.healing", keeps_core_type=True),
    "sharing": Benchmark("recovery.sharing"),
    "callbacks": Benchmark("doors.callbacks"),
    "torch_door": Benchmark("doors.torch_door"),
    "search": Benchmark("search.search"),
    "narrowing": Benchmark("search.narrowing", of_all=False),
    "merging": Benchmark("search.merging"),
    "diagnosis": Benchmark("diagnosis.diagnosis"),
    "pruned_speed": Benchmark("speed.pruned_speed"),
    "topology": Benchmark("systems.topology"),
    "sufficiency": Benchmark("systems.sufficiency"),
    "demo": Benchmark("speed.demo", keeps_core_type=True),
    "families": Benchmark("speed.families"),
    "quantised_models": Benchmark("speed.quantised_models"),
    "quantised": Benchmark("speed.quantised"),
    "estimators": Benchmark("estimators.estimators"),
    "estimators_sublayers": Benchmark(
        "estimators.estimators", of_all=False, options=("--sublayers",)
    ),
    "quantised_memory": Benchmark("memory.quantised", of_all=False, keeps_core_type=True),
    "larger_than_memory": Benchmark(
        "memory.larger_than_memory", of_all=False, keeps_core_type=True
    ),
}


def split(given: list[str]) -> tuple[list[str], list[str]]:
    """Our arguments, and those after `--`."""
    if "--" not in given:
        return given, []
    at = given.index("--")
    return given[:at], given[at + 1 :]


def main() -> int:
    """Runs what was asked for and returns the exit status."""
    ours, theirs = split(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"names with commas between, of {', '.join(BENCHMARKS)}")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and end")
    parser.add_argument("--held-out", help="text that people wrote, for recovery")
    arguments = parser.parse_args(ours)
    if arguments.list:
        print("\n".join(BENCHMARKS))
        return 0
    names = [name for name, benchmark in BENCHMARKS.items() if benchmark.of_all]
    if arguments.only:
        names = arguments.only.split(",")
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}: they are {', '.join(BENCHMARKS)}")
    if theirs and len(names) != 1:
        parser.error("options after -- need --only with one name")
    statuses: dict[str, int] = {}
    lines = []
    for name in names:
        benchmark = BENCHMARKS[name]
        print(f"== {name}", file=sys.stderr, flush=True)
        start = time.monotonic()
        options = list(theirs)
        if name == "recovery" and arguments.held_out:
            options += ["--held-out", str(Path(arguments.held_out).resolve())]
        statuses[name] = subprocess.run(
            [*benchmark.command, *options],
            cwd=REPOSITORY,
            env=benchmark.environment(),
            check=False,
        ).returncode
        said = "passed" if statuses[name] == 0 else f"failed with status {statuses[name]}"
        lines.append(f"{name:22} {said}, {(time.monotonic() - start) / 60:.1f} minutes")
    print("\n".join(["", "Benchmarks:", *lines]))
    return 0 if not any(statuses.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
