# SPDX-License-Identifier: Apache-2.0
"""The examples of the package's README run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import prunecore as pc
import pytest


@pytest.fixture(scope="module")
def readme(repository_root: Path) -> str:
    return (repository_root / "bindings" / "python" / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def workplace(repository_root: Path, tmp_path: Path) -> Path:
    """A folder in which the README's paths lead to the embedded model."""
    (tmp_path / "examples").symlink_to(repository_root / "examples")
    return tmp_path


def test_python_example(readme: str, workplace: Path) -> None:
    code, _, _ = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=workplace
    )
    removed, losses = done.stdout.splitlines()
    before, after = map(float, losses.split())
    assert removed.endswith(" 2048") and removed.count("attn.") == 4
    assert 2 < before < after < 5
    assert len(pc.Mask.load(workplace / "mask.json").removed) == 4


def test_python_example_of_games(readme: str, workplace: Path) -> None:
    _, code, _ = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=workplace
    )
    *units, removed, total = done.stdout.splitlines()
    assert len(units) == 24 and all(" +- " in line for line in units)
    assert removed.count("attn.") + removed.count("ffn.") == 4
    assert float(total) == pytest.approx(8**0.5)  # the worth of all players
    assert (workplace / "shapley.checkpoint").is_file()


def test_python_example_of_recovery(readme: str, workplace: Path) -> None:
    _, _, code = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=workplace
    )
    rows = [[float(loss) for loss in line.split()] for line in done.stdout.splitlines()[:2]]
    assert rows[0][0] == rows[1][0] and max(rows[0][1], rows[1][1]) < rows[0][0]
    assert pc.Adapters.load(workplace / "adapters").summary.steps == 5


def test_shell_example(readme: str, workplace: Path) -> None:
    (code,) = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    lines = code.splitlines()
    assert len(lines) == 4 and lines[-1] == "prunecore demo"  # which has tests of its own
    folder = os.path.dirname(sys.executable)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", "\n".join(lines[:-1])],
        check=True,
        capture_output=True,
        text=True,
        cwd=workplace,
        env={**os.environ, "PATH": path},
    )
    assert '"loss": ' in done.stdout
    assert len(pc.Mask.load(workplace / "mask.json").removed) == 4
