# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/sharing.md run as they are written, one after the other."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from pages import Page, run_python, run_shell

PAGE = "docs/sharing.md"
RUNS_BLOCKS_OF = {"docs/sharing.md": ("python", "sh")}


def test_python_blocks_of_the_sharing_page(workplace: Path) -> None:
    pytest.importorskip("torch")
    lines = run_python(Page(PAGE).code("python"), workplace)
    full, removed, shared = map(float, lines[0].split())
    assert full < shared < removed
    assert 0.1 < float(lines[1]) < 0.2
    assert lines[2].split()[:4] == ["ffn.2", "gate", "ffn.1", "32"]
    assert lines[5].split()[1] == "True"
    before, best = map(float, lines[-2].split())
    assert best <= before
    assert lines[-1] == "True"


def test_shell_blocks_of_the_sharing_page(workplace: Path) -> None:
    output = run_shell(Page(PAGE).only("sh"), workplace)
    assert "bytes of the model as stored" in output
    with pc.open(workplace / "shared") as model:
        assert {weight.rank for weight in model.shared_weights} == {32}
    assert len(pc.SharingAnalysis.load(workplace / "sharing.json")) == 66 * 7
