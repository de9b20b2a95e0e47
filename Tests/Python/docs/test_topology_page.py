# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/topology.md run as they are written, and agree with each other."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from pages import Page, run_python, run_shell

pytest.importorskip("gudhi", reason="gudhi is not installed: pip install gudhi")
pytest.importorskip("dionysus", reason="dionysus is not installed: pip install dionysus==2.1.1")

PAGE = "docs/topology.md"
RUNS_BLOCKS_OF = {"docs/topology.md": ("python", "sh")}


def test_blocks_of_the_topology_page_give_the_same_mask(workplace: Path) -> None:
    lines = run_python(Page(PAGE).code("python"), workplace)
    output = run_shell(Page(PAGE).only("sh"), workplace)
    mask = pc.Mask.load(workplace / "mask.json")
    assert mask.removed and str(mask.removed) in lines
    assert "Cut by the rule of topology, P = 0.9" in output
