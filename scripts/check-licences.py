# SPDX-License-Identifier: Apache-2.0
"""Checks that every source file says its licence at its beginning.

    python scripts/check-licences.py [--root DIRECTORY]

The line stands first, or second after a `#!`, or at the head of a C comment.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

LINE = "SPDX-License-Identifier: Apache-2.0"
SUFFIXES = {
    ".swift",
    ".c",
    ".h",
    ".hpp",
    ".cpp",
    ".py",
    ".sh",
    ".cmake",
    ".map",
    ".modulemap",
    ".pc",
}
NAMES = {"Makefile", "CMakeLists.txt", "Doxyfile"}
# What is made, and what is installed.
LEFT_OUT = {"build", "out", "dist", "lib", "__pycache__", "_raw_generated.py"}


def sources(root: Path) -> Iterator[Path]:
    """Every source file below a directory, but for made ones and those that begin with a dot."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name not in LEFT_OUT and not name.startswith(".")
        )
        for name in sorted(files):
            path = Path(folder) / name
            inner = Path(path.stem).suffix if path.suffix == ".in" else path.suffix
            if name not in LEFT_OUT and (inner in SUFFIXES or name in NAMES):
                yield path


def says_its_licence(path: Path) -> bool:
    """Whether one of the first two lines names the licence."""
    with path.open(encoding="utf-8") as file:
        return any(LINE in file.readline() for _ in range(2))


def main() -> int:
    """Names every file that lacks the line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    root: Path = parser.parse_args().root
    found = list(sources(root))
    missing = [path for path in found if not says_its_licence(path)]
    for path in missing:
        print(f"{path.relative_to(root)}: lacks the line {LINE!r}", file=sys.stderr)
    if not missing:
        print(f"{len(found)} source files say their licence")
    return 1 if missing or not found else 0


if __name__ == "__main__":
    sys.exit(main())
