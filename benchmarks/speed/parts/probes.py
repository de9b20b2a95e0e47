# SPDX-License-Identifier: Apache-2.0
"""Builds probe.c and products.c, and asks them what the machine and our bf16 product can do."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.places import REPOSITORY
from benchmarks.harness.turns import Answer, MeasurementError

HERE = Path(__file__).resolve().parent
KERNELS = REPOSITORY / "Sources" / "PruneCore" / "CKernels"


class Probe:
    """The built programs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read_rate(self, threads: int) -> Answer:
        """Bytes a second that threads read from memory together: the best pass, and the mean."""
        start = time.perf_counter()
        rates = [float(word) for word in self._run("probe", "read", str(threads)).split()]
        return {"seconds": time.perf_counter() - start, "value": rates}

    def dot_rate(self, threads: int) -> Answer:
        """Operations a second of bf16 dot-product instructions; None where the CPU has none."""
        start = time.perf_counter()
        said = self._run("probe", "dot", str(threads)).strip()
        value = None if said == "none" else float(said)
        return {"seconds": time.perf_counter() - start, "value": value}

    def product_rates(self, threads: int, sizes: Sequence[Sequence[int]]) -> Answer:
        """Operations a second of our bf16 products of sizes (m, n, k), packing included."""
        numbers = [str(number) for size in sizes for number in size]
        start = time.perf_counter()
        said = self._run("products", str(threads), *numbers).split()
        rates = None if said == ["none"] else [float(word) for word in said]
        return {"seconds": time.perf_counter() - start, "value": rates}

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._directory / program), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def built() -> Iterator[Probe]:
    """Compiles the programs for this CPU, the product as the library is compiled."""
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        raise MeasurementError("no C compiler to build probe.c with")
    with tempfile.TemporaryDirectory() as directory:
        own = ["-O3", "-march=native", "-pthread", str(HERE / "probe.c")]
        subprocess.run([compiler, *own, "-o", f"{directory}/probe"], check=True)
        # The library's C is the Swift toolchain's: so is this.
        clang = next((name for name in ("clang", compiler) if shutil.which(name)), compiler)
        kernels = ("bf16_product.c", "quantised.c", "quantised_digits.c")
        sources = [str(HERE / "products.c"), *(str(KERNELS / name) for name in kernels)]
        product = ["-O2", "-pthread", "-I", str(KERNELS), *sources]
        subprocess.run([clang, *product, "-o", f"{directory}/products"], check=True)
        yield Probe(Path(directory))
