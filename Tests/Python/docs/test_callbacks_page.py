# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/models-from-callbacks.md run as they are written."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from pages import Page, checked, run_python
from prunecore.hosts.callbacks import METHODS

PAGE = "docs/models-from-callbacks.md"
RUNS_BLOCKS_OF = {"docs/models-from-callbacks.md": ("python", "c")}


def test_python_blocks_of_the_callbacks_page(repository_root: Path) -> None:
    # NumPy's threads wait for each other, which takes long where other programs run.
    code = Page(PAGE).code("python")
    lines = run_python(code, repository_root, quiet=True, OPENBLAS_NUM_THREADS="1")
    ours, theirs = map(float, lines[0].split())
    assert ours == pytest.approx(theirs, rel=1e-5)
    pruned, recovered = map(float, lines[1].split())
    assert ours < recovered < pruned
    assert lines[2] == "0"
    for removed in lines[3:5]:
        assert removed.count("attn.") == removed.count("ffn.") == 3
    assert lines[5:] == ["the host is away 0"]


def test_c_block_of_the_callbacks_page_compiles(tmp_path: Path) -> None:
    checked(Page(PAGE).only("c"), "c", tmp_path, "-Wno-conversion")


def test_callbacks_page_names_every_method_of_a_host() -> None:
    """And the header and the base class have the same ones."""
    text = Page(PAGE).text
    table = text[text.index("| not defined |") : text.index("A refusal is")]
    for method in METHODS:
        assert f"`{method}`" in table
        assert hasattr(pc.Host, method)
