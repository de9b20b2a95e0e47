# SPDX-License-Identifier: Apache-2.0
"""The examples of the package's README run as they are written."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from pages import Page, run_python, run_shell

PAGE = "bindings/python/README.md"
RUNS_BLOCKS_OF = {"bindings/python/README.md": ("python", "sh")}


def test_first_python_block_of_the_packages_readme(workplace: Path) -> None:
    code, _, _ = Page(PAGE).code("python")
    lines = run_python(code, workplace)
    removed, losses = lines
    before, after = map(float, losses.split())
    assert removed.endswith(" 2048") and removed.count("attn.") == 4
    assert 2 < before < after < 5
    assert len(pc.Mask.load(workplace / "mask.json").removed) == 4


def test_python_block_on_games_of_the_packages_readme(workplace: Path) -> None:
    _, code, _ = Page(PAGE).code("python")
    lines = run_python(code, workplace)
    *units, removed, total = lines
    assert len(units) == 24 and all(" +- " in line for line in units)
    assert removed.count("attn.") + removed.count("ffn.") == 4
    assert float(total) == pytest.approx(8**0.5)  # the worth of all players
    assert (workplace / "shapley.checkpoint").is_file()


def test_python_block_on_recovery_of_the_packages_readme(workplace: Path) -> None:
    _, _, code = Page(PAGE).code("python")
    lines = run_python(code, workplace)
    rows = [[float(loss) for loss in line.split()] for line in lines[:2]]
    assert rows[0][0] == rows[1][0] and max(rows[0][1], rows[1][1]) < rows[0][0]
    assert pc.Adapters.load(workplace / "adapters").summary.steps == 5


def test_shell_block_of_the_packages_readme(workplace: Path) -> None:
    lines = Page(PAGE).only("sh").splitlines()
    assert len(lines) == 4 and lines[-1] == "prunecore demo"  # which has tests of its own
    assert '"loss": ' in run_shell(lines[:-1], workplace)
    assert len(pc.Mask.load(workplace / "mask.json").removed) == 4
