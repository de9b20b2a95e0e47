# SPDX-License-Identifier: Apache-2.0
"""Every benchmark can begin, and runner and page know it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from pages import REPOSITORY

ENTRIES = sorted(
    str(path.relative_to(REPOSITORY).with_suffix("")).replace("/", ".")
    for path in (REPOSITORY / "benchmarks").glob("*/*.py")
    if path.parent.name not in ("harness", "parts")
)


def said(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_benchmark_finds_its_imports() -> None:
    for name in ("torch", "transformers", "shapiq"):
        pytest.importorskip(name)
    said("-c", "\n".join(f"import {module}" for module in ENTRIES))


def test_runner_and_page_of_the_benchmarks_have_every_benchmark() -> None:
    names = said("benchmarks/run.py", "--list").split()
    page = (REPOSITORY / "benchmarks" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert set(names) == set(listed) - {"instructions"}
    assert {module.rpartition(".")[2] for module in ENTRIES} <= set(listed)
