# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/search.md run as they are written, one after the other."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
from pages import Page, run_python, run_shell

PAGE = "docs/search.md"
RUNS_BLOCKS_OF = {"docs/search.md": ("python", "sh")}


def test_python_blocks_of_the_search_page(workplace: Path) -> None:
    lines = run_python(Page(PAGE).code("python"), workplace)
    mask = pc.Mask.load(workplace / "mask.json")
    assert lines[0].startswith(str(mask.removed)) and len(mask.removed) == 3
    assert [line.split()[1] for line in lines[1:5]] == ["0", "1", "2", "3"]
    rest = lines[next(i for i, line in enumerate(lines) if line.startswith("['attn")) :]
    assert "\n".join(lines).count("True") == 4  # bounds that hold, and a search saved and loaded
    with pc.open(workplace / "examples" / "models" / "tales-12l") as model:
        cache = model.shape.kv_bytes
    assert str(cache // 2) in rest
    assert rest[-1].split("\r")[-1].count("attn.") == 2
    assert (workplace / "path.png").is_file() and (workplace / "search.checkpoint").is_file()


def test_shell_blocks_of_the_search_page(workplace: Path) -> None:
    run_shell(Page(PAGE).only("sh"), workplace)
    mask = pc.Mask.load(workplace / "mask.json")
    assert len(mask.removed) == 3
    assert not {"attn.0", "attn.11", "ffn.11"} & set(mask.removed)
    assert pc.Mask.load(workplace / "careful.json").provenance["budget"] == {
        "max_loss_increase": 0.02
    }


def test_search_page_names_every_strategy_and_bound() -> None:
    text = Page(PAGE).text
    for name in pc.STRATEGIES:
        assert f"| `{name}`" in text
    for name in ("remove", "remove_attention", "remove_feed_forward", "remove_parameters"):
        assert f"`{name}`" in text
    for name in ("parameter_bytes", "kv_bytes", "prefill_ms", "decode_ms"):
        assert f"`{name}`" in text
