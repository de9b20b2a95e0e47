# SPDX-License-Identifier: Apache-2.0
"""Formats every source file, or checks that each is formatted.

    python scripts/format.py [--check] [--root DIRECTORY] [LANGUAGE ...]

Languages: python (ruff), c, header and cpp (clang-format), swift (swift-format); all of them by
default. The header has lines of 100 columns, for its readers.
With --check nothing is written, and the exit status is 1 if a file is not as it would be formatted.
Files are those below DIRECTORY, by default the repository; the settings are the repository's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LEFT_OUT = {"build", "out", "dist", "__pycache__", "_raw_generated.py"}
HEADER = "include/prunecore.h"


def files(root: Path, *suffixes: str) -> list[str]:
    """Files below a directory: not the header, what is made there, or what begins with a dot."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT and name[0] != "."]
        for name in names:
            path = Path(folder) / name
            inner = path.relative_to(root).as_posix()
            if path.suffix in suffixes and name not in LEFT_OUT and inner != HEADER:
                found.append(str(path))
    return sorted(found)


def tool(name: str) -> str:
    """A program beside this Python's, or on the PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is missing: run scripts/setup-test.sh")
    return found


def python(root: Path, check: bool) -> list[str]:
    return [tool("ruff"), "format", "--quiet", *(["--check"] if check else []), str(root)]


def c(root: Path, check: bool) -> list[str]:
    return _clang_format(files(root, ".c", ".h"), REPOSITORY / ".clang-format", check)


def header(root: Path, check: bool) -> list[str]:
    path = root / HEADER
    settings = REPOSITORY / "include" / ".clang-format"
    return _clang_format([str(path)] if path.is_file() else [], settings, check)


def cpp(root: Path, check: bool) -> list[str]:
    settings = REPOSITORY / "bindings" / "cpp" / ".clang-format"
    return _clang_format(files(root, ".cpp", ".hpp"), settings, check)


def _clang_format(paths: list[str], settings: Path, check: bool) -> list[str]:
    how = ["--dry-run", "--Werror"] if check else ["-i"]
    return [tool("clang-format"), f"--style=file:{settings}", *how, *paths] if paths else []


def swift(root: Path, check: bool) -> list[str]:
    paths = files(root, ".swift")
    settings = ["--configuration", str(REPOSITORY / ".swift-format"), "--parallel"]
    how = ["lint", "--strict"] if check else ["format", "-i"]
    return [tool("swift-format"), *how, *settings, *paths] if paths else []


LANGUAGES: dict[str, Callable[[Path, bool], list[str]]] = {
    "python": python,
    "c": c,
    "header": header,
    "cpp": cpp,
    "swift": swift,
}


def main() -> int:
    """Runs the formatters; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say what is not formatted")
    parser.add_argument("--root", type=Path, default=REPOSITORY)
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=", ".join(LANGUAGES))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.languages if name not in LANGUAGES]
    if unknown:
        parser.error(f"there is no language {unknown[0]!r}: they are {', '.join(LANGUAGES)}")
    bad = []
    for name in arguments.languages or LANGUAGES:
        command = LANGUAGES[name](arguments.root, arguments.check)
        if command and subprocess.run(command, check=False).returncode != 0:
            bad.append(name)
    if bad and arguments.check:
        print(f"not formatted: {', '.join(bad)}; run make format", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
