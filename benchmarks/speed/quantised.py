# SPDX-License-Identifier: Apache-2.0
"""Products with matrices in the blocks of GGUF files, against the same matrices in bf16.

    python -m benchmarks.speed.quantised [--rounds N] [--out DIRECTORY]

The kernels' C sources are compiled with a small program that cuts a product among threads as the
engine does. In each round every type has its turn, and a ratio is the median of those of each
round, of the processors' time: that does not count what else the machine does. Decoding reads each
weight for one row, so it should be faster by the bytes that are saved: the bar is three quarters of
that. With 512 rows a product should take little longer for widening the weights. The exit status is
1 if a bar is missed. Writes quantised.json and quantised.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import prunecore as pc

from benchmarks.harness import environment, report
from benchmarks.harness.places import REPOSITORY, RESULTS
from benchmarks.harness.record import Record, environment_notes
from benchmarks.harness.turns import MeasurementError, summary

HERE = Path(__file__).resolve().parent
KERNELS = REPOSITORY / "Sources" / "PruneCore" / "CKernels"
BARRED = ("q8_0", "q4_1", "q4_k")
SHARE = 0.75  # of the bytes saved, in decoding
FORWARD = 0.9

# Kind, and outputs, inputs, matrices, rows. Decoding goes through more than the caches hold.
DECODE = {
    "decode, 4096 x 11008": ("decode", 11008, 4096, 1, 1),
    "decode, 64 of 1536 x 768": ("decode", 1536, 768, 64, 1),
}
FORWARDS = {
    "512 rows in fp32, 4096 x 2048": ("float32", 2048, 4096, 1, 512),
    "512 rows in bf16, 4096 x 2048": ("bfloat16", 2048, 4096, 1, 512),
}


@contextmanager
def program() -> Iterator[str]:
    """The compiled program; clang alone knows the attributes that the kernels are written with."""
    swift = shutil.which("swift")
    beside = Path(swift).resolve().parent / "clang" if swift else None
    clang = str(beside) if beside and beside.exists() else shutil.which("clang")
    if clang is None:
        raise MeasurementError("no clang to build quantised_products.c with")
    found = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "openblas"], capture_output=True, text=True, check=True
    ).stdout.split()
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/quantised_products"
        sources = [str(HERE / "quantised_products.c"), *map(str, sorted(KERNELS.glob("*.c")))]
        command = [clang, "-O2", f"-I{KERNELS}", *sources, "-o", path, "-lpthread", *found]
        subprocess.run(command, check=True)
        yield path


def measured(path: str, rounds: int, case: tuple[str, int, int, int, int]) -> dict[str, tuple]:
    """Of each type, the bytes of its matrices, and seconds of each round."""
    kind, *sizes = case
    rounds *= 3 if kind == "decode" else 1
    arguments = [kind, str(rounds), str(environment.processors()), *map(str, sizes)]
    done = subprocess.run(
        [path, *arguments], env=environment.cleaned(), check=True, capture_output=True, text=True
    )
    found = {}
    for line in done.stdout.splitlines():
        name, size, *seconds = line.split()
        found[name] = (int(size), [float(each) for each in seconds])
    return found


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    record = Record()
    cases = {**DECODE, **FORWARDS}
    if not pc.runtime_info().bf16_kernels:
        del cases["512 rows in bf16, 4096 x 2048"]
    with program() as path:
        for title, case in cases.items():
            found = measured(path, arguments.rounds, case)
            size, base = found.pop("bf16")
            record.timings[f"{title}: bf16"] = summary(base)
            if title in DECODE:
                rates = [environment.processors() * size / seconds / 1e9 for seconds in base]
                record.judge(f"{title}: bf16 read", rates, "{:.1f} GB/s")
            for name, (own, seconds) in found.items():
                ratios = [ours / theirs for ours, theirs in zip(base, seconds, strict=True)]
                least = SHARE * size / own if title in DECODE else FORWARD
                record.judge(
                    f"{title}: {name}, speed against bf16",
                    ratios,
                    "{:.2f}",
                    least=least if name in BARRED else None,
                )
    results = record.results(
        **environment_notes(), rounds=arguments.rounds, library=f"prunecore {pc.__version__}"
    )
    lines = [
        "# Products with quantised weights",
        "",
        "How fast a product is with a matrix in the blocks of GGUF files, against the same matrix",
        "in bf16, by the processors' time: 2.00 is twice as fast. Medians of "
        f"{arguments.rounds} rounds in turns, of decoding {3 * arguments.rounds}.",
        "The bar of decoding is three quarters of the bytes saved.",
        "Made by `python -m benchmarks.speed.quantised`.",
        "",
        *report.busy(record.timings),
        *report.bar_table(record.rows),
        *report.footer(results),
    ]
    return report.publish("quantised", results, "\n".join(lines), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
