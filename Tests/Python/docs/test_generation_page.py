# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/generation.md run as they are written, one after the other."""

from __future__ import annotations

from pathlib import Path

from pages import Page, run_python, run_shell

PAGE = "docs/generation.md"
RUNS_BLOCKS_OF = {"docs/generation.md": ("python", "sh")}


def test_python_blocks_of_the_generation_page(workplace: Path) -> None:
    lines = run_python(Page(PAGE).code("python"), workplace)
    assert lines[0].endswith(" length")
    whole, less = map(int, lines[-2].split())
    assert less * 12 == whole * 8  # 4 of 12 attention layers have no cache
    assert lines[-1].count("attn.") == 4


def test_shell_blocks_of_the_generation_page(workplace: Path) -> None:
    assert "little girl" in run_shell(Page(PAGE).code("sh"), workplace)
    assert len((workplace / "calibration.jsonl").read_text(encoding="utf-8").splitlines()) == 16
