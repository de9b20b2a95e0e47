# SPDX-License-Identifier: Apache-2.0
"""The checks of `make lint` find what they are there for, in a small tree with one fault."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import REPOSITORY

LICENCE = "SPDX-License-Identifier: Apache-2.0"
RIGHT = {
    "a.py": f"# {LICENCE}\nX = 1\n",
    "a.c": f"/* {LICENCE} */\nstatic int x(int a)\n{{\n    a += 1;\n    return a;\n}}\n",
    "a.cpp": f"// {LICENCE}\nint x(int a) {{\n  a += 1;\n  return a;\n}}\n",
    "a.swift": f"// {LICENCE}\nlet x = 1\n",
    "run.sh": f"#!/usr/bin/env bash\n# {LICENCE}\n",
    "a.cmake.in": f"# {LICENCE}\n",
    "Makefile": f"# {LICENCE}\n",
    "module.modulemap": f"// {LICENCE}\nmodule A {{}}\n",
}
TOOLS = {"python": "ruff", "c": "clang-format", "cpp": "clang-format", "swift": "swift-format"}
UNFORMATTED = {
    "python": ("a.py", f"# {LICENCE}\nX   = 1\n"),
    "c": ("a.c", f"/* {LICENCE} */\nstatic int x(int a)  {{ a+=1;\n return a;\n}}\n"),
    "cpp": ("a.cpp", f"// {LICENCE}\nint x(int a) {{\n      a+=1; return a;\n}}\n"),
    "swift": ("a.swift", f"// {LICENCE}\nlet x   =  1\n"),
}


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / name, *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files in which nothing is wrong."""
    for name, text in RIGHT.items():
        path = tmp_path / "inner" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_licence_check_passes_a_tree_in_which_every_file_names_it(tree: Path) -> None:
    done = script("check-licences.py", "--root", str(tree))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(RIGHT)} source files say their licence\n"


@pytest.mark.parametrize("name", RIGHT)
def test_licence_check_names_the_file_that_lacks_the_line(tree: Path, name: str) -> None:
    path = tree / "inner" / name
    path.write_text(path.read_text(encoding="utf-8").replace(LICENCE, "All mine"))
    done = script("check-licences.py", "--root", str(tree))
    assert done.returncode == 1
    assert done.stderr == f"inner/{name}: lacks the line {LICENCE!r}\n"


def test_every_source_file_of_the_repository_names_its_licence() -> None:
    done = script("check-licences.py")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("language", TOOLS)
def test_format_check_finds_the_unformatted_file_and_format_mends_it(
    tree: Path, language: str
) -> None:
    tool = TOOLS[language]
    if not (Path(sys.executable).with_name(tool).exists() or shutil.which(tool)):
        pytest.skip(f"{tool} is not installed")
    check = ("format.py", "--check", "--root", str(tree), language)
    assert script(*check).returncode == 0
    name, text = UNFORMATTED[language]
    (tree / "inner" / name).write_text(text, encoding="utf-8")
    done = script(*check)
    assert done.returncode == 1
    assert f"not formatted: {language}; run make format" in done.stderr
    assert (tree / "inner" / name).read_text(encoding="utf-8") == text
    assert script("format.py", "--root", str(tree), language).returncode == 0
    assert (tree / "inner" / name).read_text(encoding="utf-8") == RIGHT[name]
    assert script(*check).returncode == 0


def test_make_help_lists_every_public_target() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    done = subprocess.run(
        [make, "-s", "help"], cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=True
    )
    listed = {line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")}
    assert {"setup", "demo", "test", "lint", "format", "bench", "test-kernels", "help"} <= listed
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (phony,) = [
        line
        for line in makefile.replace("\\\n", " ").splitlines()
        if line.startswith(".PHONY: help")
    ]
    assert set(phony.split()[1:]) <= listed
