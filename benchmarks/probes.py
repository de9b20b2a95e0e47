# SPDX-License-Identifier: Apache-2.0
"""Builds probe.c, and asks it for the machine's limits."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turns import Answer, MeasurementError

SOURCE = Path(__file__).resolve().with_name("probe.c")


class Probe:
    """The built program."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def read_rate(self, threads: int) -> Answer:
        """Bytes a second that this many threads read from memory together."""
        return self._ask("read", threads)

    def dot_rate(self, threads: int) -> Answer:
        """Operations a second of bf16 dot-product instructions; None where the CPU has none."""
        return self._ask("dot", threads)

    def _ask(self, what: str, threads: int) -> Answer:
        start = time.perf_counter()
        command = [str(self._program), what, str(threads)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        value = None if said == "none" else float(said)
        return {"seconds": time.perf_counter() - start, "value": value}


@contextmanager
def built() -> Iterator[Probe]:
    """Compiles the probe for this CPU."""
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        raise MeasurementError("no C compiler to build benchmarks/probe.c with")
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "probe"
        options = ["-O3", "-march=native", "-pthread", "-o", str(program), str(SOURCE)]
        subprocess.run([compiler, *options], check=True)
        yield Probe(program)
