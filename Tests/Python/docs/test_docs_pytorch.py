# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/models-from-pytorch.md run as they are written, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def test_python_examples(repository_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    text = (repository_root / "docs" / "models-from-pytorch.md").read_text(encoding="utf-8")
    (tmp_path / "examples").symlink_to(repository_root / "examples")
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(re.findall(r"'(?:attn|ffn)\.\d+'", lines[0])) == 4
    full, pruned = map(float, lines[1].split())
    assert full < pruned
    assert lines[2] == "True"  # the parameters of what was removed are gone
    assert "Once upon a time" in lines[3]
    assert lines[-2] == "True"  # adapters win back a part
    assert lines[-1] == "True"  # the module with adapters has the loss that was measured


def test_names_what_is_known(repository_root: Path) -> None:
    """The page's table has every architecture of which single sublayers can be removed."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from torch_models import CONFIGURATIONS

    text = (repository_root / "docs" / "models-from-pytorch.md").read_text(encoding="utf-8")
    table = " ".join(row.split("|")[1] for row in re.findall(r"^\| .*$", text, re.MULTILINE))
    named = re.sub(r"\W", "", table).lower()
    for name in CONFIGURATIONS:
        assert name.split("-")[0].replace("_", "") in named
