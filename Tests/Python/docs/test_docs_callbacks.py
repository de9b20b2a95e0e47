# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/models-from-callbacks.md run as they are written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import prunecore as pc
import pytest
from prunecore._host_callbacks import METHODS


@pytest.fixture
def text(repository_root: Path) -> str:
    return (repository_root / "docs" / "models-from-callbacks.md").read_text(encoding="utf-8")


def test_python_examples(text: str, repository_root: Path) -> None:
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository_root,
        capture_output=True,
        encoding="utf-8",
        # NumPy's threads wait for each other, which takes long where other programs run.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    ours, theirs = map(float, lines[0].split())
    assert ours == pytest.approx(theirs, rel=1e-5)
    pruned, recovered = map(float, lines[1].split())
    assert ours < recovered < pruned
    assert lines[2] == "0"
    for removed in lines[3:5]:
        assert removed.count("attn.") == removed.count("ffn.") == 3
    assert lines[5:] == ["the host is away 0"]


def test_c_example_compiles(text: str, repository_root: Path, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (block,) = re.findall(r"```c\n(.*?)```", text, re.DOTALL)
    source = tmp_path / "host.c"
    source.write_text(block)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    include = f"-I{repository_root / 'include'}"
    done = subprocess.run(
        [compiler, *flags, include, str(source)], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_table_names_every_method(text: str) -> None:
    """And the header and the base class have the same ones."""
    table = text[text.index("| not defined |") : text.index("A refusal is")]
    for method in METHODS:
        assert f"`{method}`" in table
        assert hasattr(pc.Host, method)
