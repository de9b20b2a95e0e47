# SPDX-License-Identifier: Apache-2.0
"""The Python examples of the project's README run as they are written, one after the other."""

from __future__ import annotations

from pathlib import Path

from pages import Page, run_python

RUNS_BLOCKS_OF = {"README.md": ("python",)}


def test_python_blocks_of_the_projects_readme(repository_root: Path) -> None:
    lines = run_python(Page("README.md").code("python"), repository_root)
    removed, before, after = lines[:3]
    assert removed.count("attn.") == 4
    assert float(before) < float(after)
    pruned, recovered = map(float, lines[-1].split())
    assert recovered < pruned
