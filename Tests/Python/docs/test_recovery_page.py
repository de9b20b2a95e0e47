# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/recovery.md run as they are written, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import prunecore as pc
import pytest
from pages import Page, run_python, run_shell

PAGE = "docs/recovery.md"
RUNS_BLOCKS_OF = {"docs/recovery.md": ("python", "sh", "c")}


def test_python_blocks_of_the_recovery_page(workplace: Path) -> None:
    pytest.importorskip("torch")
    lines = run_python(Page(PAGE).code("python"), workplace)
    full, pruned, recovered = map(float, lines[0].split())
    assert full < recovered < pruned
    assert lines[1] == "True"  # moments in parts have seen all tokens
    assert [line.split()[0] for line in lines[2:12]] == [str(step) for step in range(1, 11)]
    before, best = map(float, lines[12].split())
    assert best <= before
    assert lines[-2] == str(dict.fromkeys(modules(workplace), "low_rank"))
    assert "(16, 128)" in lines[-1]


def modules(workplace: Path) -> list[int]:
    return [adapter.sublayer for adapter in pc.Adapters.load(workplace / "adapters")]


def test_shell_blocks_of_the_recovery_page(workplace: Path) -> None:
    output = run_shell(Page(PAGE).only("sh"), workplace)
    assert output.count("lost loss won back") == 2
    assert pc.Adapters.load(workplace / "trained").summary.steps == 5


def test_c_block_of_the_recovery_page_names_what_the_header_has(repository_root: Path) -> None:
    header = (repository_root / "include" / "prunecore.h").read_text(encoding="utf-8")
    block = Page(PAGE).only("c")
    assert block.count("options.") == 3
    for name in re.findall(r"(?:\bprune_|\bPRUNE_|(?<=options\.))\w+", block):
        assert name in header
