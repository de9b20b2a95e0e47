# SPDX-License-Identifier: Apache-2.0
"""Counts the instructions of the hot loops, and fails if one takes more than it did.

    python -m benchmarks.instructions.instructions [--update]

Runs driver.c under valgrind's callgrind, and counts what runs inside libprunecore.so:
not OpenBLAS, not the C library, so that their versions do not matter. Unlike a time, a count is the
same on a busy machine. valgrind 3.19 knows no AVX-512, so that on every x86_64 machine it is the
code for AVX2 that is counted. instructions.json holds the counts to compare with; --update writes
it anew, for a change that is meant.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import environment, report
from benchmarks.harness.places import REPOSITORY, TALES, TALES_TOKENS

HERE = Path(__file__).resolve().parent
STORED = HERE / "instructions.json"
LIBRARY = REPOSITORY / "build" / "lib"
ALLOWED_RISE = 0.10
LIMIT = 600  # seconds
SETTINGS = {"OPENBLAS_NUM_THREADS": "1"}


def phase_counts(directory: Path) -> dict[str, int]:
    """Instructions in the library by phase, from the files that callgrind left, in their order."""
    counts: dict[str, int] = {}
    files = [(int(f.suffix[1:]), f) for f in directory.glob("callgrind.out.*.*")]
    for _, file in sorted(files):
        text = file.read_text(encoding="utf-8")
        trigger = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
        if trigger:
            counts[trigger[1]] = own_cost(text)
    return counts


def own_cost(text: str) -> int:
    """Instructions whose code lies in libprunecore, of one file in callgrind's format."""
    total, inside, callee = 0, False, False
    for line in text.splitlines():
        if line.startswith("ob="):
            inside = "/libprunecore." in line
        elif line.startswith("calls="):
            callee = True  # the next line is what the call cost, counted where it went
        elif line[:1].isdigit():
            if inside and not callee:
                total += int(line.split()[1])
            callee = False
    return total


def count() -> dict[str, int]:
    """Builds the driver, runs it under callgrind, and reads the counts."""
    with tempfile.TemporaryDirectory() as place:
        driver = Path(place) / "driver"
        flags = [
            "-std=c99",
            "-O1",
            f"-I{REPOSITORY / 'include'}",
            f"-L{LIBRARY}",
            "-lprunecore",
            "-lm",
        ]
        source = str(HERE / "driver.c")
        compile_it = [os.environ.get("CC", "cc"), source, *flags, "-o", str(driver)]
        subprocess.run([*compile_it, f"-Wl,-rpath,{LIBRARY}"], check=True)
        callgrind = ["valgrind", "-q", "--tool=callgrind", "--compress-strings=no"]
        callgrind += ["--compress-pos=no", f"--callgrind-out-file={place}/callgrind.out.1"]
        subprocess.run(
            [*callgrind, str(driver), str(TALES), str(TALES_TOKENS)],
            check=True,
            timeout=LIMIT,
            stdout=subprocess.DEVNULL,
            env={**environment.cleaned(), **SETTINGS},
        )
        return phase_counts(Path(place))


def obstacle() -> str | None:
    """Why counts from this machine could not be compared with the stored ones."""
    if platform.machine() != "x86_64":
        return f"the stored counts are of x86_64, this is {platform.machine()}"
    if " avx2 " not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        return "the stored counts are of the code for AVX2, which this CPU lacks"
    return None


def main() -> int:
    """Counts, compares, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the stored counts anew")
    arguments = parser.parse_args()
    if reason := obstacle():
        print(f"instruction counts not checked: {reason}")
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is missing: run scripts/setup-test.sh", file=sys.stderr)
        return 2
    found = count()
    if arguments.update:
        STORED.write_text(json.dumps(found, indent=1) + "\n")
        print(f"wrote {STORED.relative_to(REPOSITORY)}")
    stored: dict[str, int] = json.loads(STORED.read_text())
    rows, bad = [], []
    for name in [*stored, *(name for name in found if name not in stored)]:
        change = found[name] / stored[name] - 1 if name in stored and name in found else None
        met = change is not None and change <= ALLOWED_RISE
        if not met:
            bad.append(name)
        millions = [f"{c[name] / 1e6:.2f}" if name in c else "" for c in (stored, found)]
        said = "" if change is None else f"{change:+.1%}"
        rows.append([name, *millions, said, report.MET[met]])
    head = ["phase", "stored, millions", "found, millions", "change", f"<= +{ALLOWED_RISE:.0%}"]
    print("\n".join(report.table(head, rows)))
    for name in bad:
        print(
            f"{name}: instructions rose, or it is only in one of the two lists. If that is meant: "
            "python -m benchmarks.instructions.instructions --update",
            file=sys.stderr,
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
