# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/search.md run as they are written, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import prunecore as pc
import pytest


@pytest.fixture
def text(repository_root: Path) -> str:
    return (repository_root / "docs" / "search.md").read_text(encoding="utf-8")


def test_python_examples(text: str, workplace: Path) -> None:
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=workplace,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    mask = pc.Mask.load(workplace / "mask.json")
    assert lines[0].startswith(str(mask.removed)) and len(mask.removed) == 3
    assert [line.split()[1] for line in lines[1:5]] == ["0", "1", "2", "3"]
    rest = lines[next(i for i, line in enumerate(lines) if line.startswith("['attn")) :]
    assert done.stdout.count("True") == 4  # bounds that hold, and a search saved and loaded
    with pc.open(workplace / "examples" / "models" / "tales-12l") as model:
        cache = model.shape.kv_bytes
    assert str(cache // 2) in rest
    assert rest[-1].split("\r")[-1].count("attn.") == 2
    assert (workplace / "path.png").is_file() and (workplace / "search.checkpoint").is_file()


def test_shell_examples(text: str, workplace: Path) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    # As the installed command would be called, whichever copy of the package is tested.
    code = f'prunecore() {{ "{sys.executable}" -m prunecore "$@"; }}\n{block}'
    done = subprocess.run(
        ["sh", "-ec", code],
        cwd=workplace,
        capture_output=True,
        encoding="utf-8",
        env=os.environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mask = pc.Mask.load(workplace / "mask.json")
    assert len(mask.removed) == 3
    assert not {"attn.0", "attn.11", "ffn.11"} & set(mask.removed)
    assert pc.Mask.load(workplace / "careful.json").provenance["budget"] == {
        "max_loss_increase": 0.02
    }


def test_every_strategy_and_bound_is_named(text: str) -> None:
    for name in pc.STRATEGIES:
        assert f"| `{name}`" in text
    for name in ("remove", "remove_attention", "remove_feed_forward", "remove_parameters"):
        assert f"`{name}`" in text
    for name in ("parameter_bytes", "kv_bytes", "prefill_ms", "decode_ms"):
        assert f"`{name}`" in text
