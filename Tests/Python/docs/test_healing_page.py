# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/healing.md run as they are written, one after the other."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from pages import Page, run_python

PAGE = "docs/healing.md"
RUNS_BLOCKS_OF = {"docs/healing.md": ("python",)}


def test_python_blocks_of_the_healing_page(workplace: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    lines = run_python(Page(PAGE).code("python"), workplace, OMP_NUM_THREADS="1")
    before, after, trained = lines[0].split()
    assert float(after) < float(before) and int(trained) == 3 * 184_576 + 128
    assert "cancelled by the progress callback after step 2 of 4" in lines
    assert lines[lines.index("4") - 1].startswith("cancelled")
    assert lines[-3:-1] == ["True False", "True"]
    removed, _, lower = lines[-1].rpartition(" ")
    assert lower == "True" and removed.count("attn.") == 3
    with pc.open(workplace / "healed") as opened:  # an ordinary checkpoint of nine blocks
        assert opened.shape.n_blocks == 9 and opened.shape.absent == ()
