# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/models-from-pytorch.md run as they are written, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import prunecore
import pytest
from pages import Page, run_python

PAGE = "docs/models-from-pytorch.md"
RUNS_BLOCKS_OF = {"docs/models-from-pytorch.md": ("python",)}


def test_python_blocks_of_the_pytorch_page(workplace: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    lines = run_python(Page(PAGE).code("python"), workplace, OMP_NUM_THREADS="1")
    assert len(re.findall(r"'(?:attn|ffn)\.\d+'", lines[0])) == 4
    full, pruned = map(float, lines[1].split())
    assert full < pruned
    assert lines[2] == "True"  # the parameters of what was removed are gone
    assert "Once upon a time" in lines[3]
    assert lines[-2] == "True"  # adapters win back a part
    assert lines[-1] == "True"  # the module with adapters has the loss that was measured


def test_pytorch_page_names_every_known_architecture() -> None:
    """The page's table has every architecture of which single sublayers can be removed."""
    text = Page(PAGE).text
    table = " ".join(row.split("|")[1] for row in re.findall(r"^\| .*$", text, re.MULTILINE))
    named = re.sub(r"\W", "", table).lower()
    for architecture in prunecore.architectures():
        name = re.sub("(ForCausalLM|LMHeadModel)$", "", architecture.name)
        assert name.replace("_", "").lower() in named
