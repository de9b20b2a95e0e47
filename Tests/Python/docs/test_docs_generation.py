# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/generation.md run as they are written, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def text(repository_root: Path) -> str:
    return (repository_root / "docs" / "generation.md").read_text(encoding="utf-8")


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
    assert lines[0].endswith(" length")
    whole, less = map(int, lines[-2].split())
    assert less * 12 == whole * 8  # 4 of 12 attention layers have no cache
    assert lines[-1].count("attn.") == 4


def test_shell_examples(text: str, workplace: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    # As the installed command would be called, whichever copy of the package is tested.
    code = f'prunecore() {{ "{sys.executable}" -m prunecore "$@"; }}\n' + "".join(blocks)
    done = subprocess.run(
        ["sh", "-ec", code],
        cwd=workplace,
        capture_output=True,
        encoding="utf-8",
        env=os.environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "little girl" in done.stdout
    assert len((workplace / "calibration.jsonl").read_text(encoding="utf-8").splitlines()) == 16
