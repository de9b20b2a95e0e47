# SPDX-License-Identifier: Apache-2.0
"""The documentation's fenced blocks of code: found, and run as their readers run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest
from processes import HANG

REPOSITORY = Path(__file__).resolve().parents[3]
LIBRARY = Path(pc.runtime_info().library)
LANGUAGES = ("python", "sh", "c", "cpp")
STANDARDS = {"c": "-std=c99", "cpp": "-std=c++17"}
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page that it begins in."""

    language: str
    code: str
    line: int


class Page:
    """A page of the documentation, by its path in the repository."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = (REPOSITORY / path).read_text(encoding="utf-8")
        self.blocks = [
            Block(found[1], found[2], self.text.count("\n", 0, found.start()) + 1)
            for found in re.finditer(r"^```(\w+)\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)
        ]

    def code(self, language: str) -> list[str]:
        """The blocks of a language, in the page's order."""
        return [block.code for block in self.blocks if block.language == language]

    def only(self, language: str) -> str:
        """The only block of a language."""
        (code,) = self.code(language)
        return code


def pages() -> list[str]:
    """Every page: the READMEs, and what lies under docs/."""
    found = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    found += [*(REPOSITORY / "bindings").rglob("README.md"), *REPOSITORY.glob("examples/**/*.md")]
    return sorted(str(page.relative_to(REPOSITORY)) for page in found)


def output_of(command: list[Any], folder: Path, quiet: bool = False, **environment: str) -> str:
    """What a command prints that must end well, and, if `quiet`, without a word on its errors."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert not (quiet and done.stderr), done.stderr
    return done.stdout


def run_python(
    code: str | list[str], folder: Path, quiet: bool = False, **environment: str
) -> list[str]:
    """The lines that code prints; blocks run one after the other, in one namespace."""
    if not isinstance(code, str):
        code = "\n".join(code)
    return output_of([sys.executable, "-c", code], folder, quiet, **environment).splitlines()


def run_shell(code: str | list[str], folder: Path) -> str:
    """What shell code prints; `prunecore` is the command of the package that is tested."""
    if not isinstance(code, str):
        code = "\n".join(code)
    command = f'prunecore() {{ "{sys.executable}" -m prunecore "$@"; }}\n'
    return output_of(["sh", "-ec", command + code], folder)


def compiler(language: str) -> str:
    """The compiler of C or C++; the test is skipped where there is none."""
    wanted = {"c": os.environ.get("CC", "gcc"), "cpp": os.environ.get("CXX", "g++")}[language]
    if shutil.which(wanted) is None:
        pytest.skip(f"{wanted} is not installed")
    return wanted


def checked(code: str, language: str, folder: Path, *flags: str) -> None:
    """Compiles code that is not a whole program, without a warning, to nothing."""
    source = folder / f"block.{language}"
    source.write_text(code, encoding="utf-8")
    output_of([*_command(language, flags), "-fsyntax-only", source], folder)


def compiled(
    code: str, language: str, folder: Path, *others: Any, flags: tuple[str, ...] = ()
) -> Path:
    """The program that code makes, without a warning, with other sources besides.

    It is linked to the library that the package uses, by its path.
    """
    source, program = folder / f"block.{language}", folder / f"block_{language}"
    source.write_text(code, encoding="utf-8")
    link = [LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}", "-lm", "-pthread", "-o", program]
    output_of([*_command(language, flags), source, *others, *link], folder)
    return program


def _command(language: str, flags: tuple[str, ...]) -> list[Any]:
    folders = [REPOSITORY / "include", REPOSITORY / "bindings" / "cpp"]
    included = [f"-I{folder}" for folder in folders]
    return [compiler(language), STANDARDS[language], *WARNINGS, *included, *flags]
