# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/statistics-from-hooks.md run as they are written: Python, C and C++."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from pages import Page, compiled, output_of, run_python

PAGE = "docs/statistics-from-hooks.md"
RUNS_BLOCKS_OF = {"docs/statistics-from-hooks.md": ("python", "c", "cpp")}


def test_python_blocks_of_the_activations_page(repository_root: Path, workplace: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    first, second = run_python(Page(PAGE).code("python"), workplace)
    assert second == "288 24"  # 8 sequences of 24 sublayers and 12 blocks
    # The network computes in bf16; what to remove is what the library says in float32.
    folder = repository_root / "examples" / "models" / "tales-12l"
    with pc.open(folder) as model:
        text = pc.Data.from_text(folder / "stories.jsonl", model, sequence_length=128, limit=8)
        assert first == str(model.score(text, "relative_l2", "attention").prune(4).removed)


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_compiled_blocks_of_the_activations_page(tmp_path: Path, language: str) -> None:
    program = compiled(Page(PAGE).only(language), language, tmp_path)
    assert output_of([program], tmp_path) == {"c": "1 0\n", "cpp": "1\n"}[language]
