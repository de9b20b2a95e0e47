# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/recovery.md run as they are written, one after the other."""

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
    return (repository_root / "docs" / "recovery.md").read_text(encoding="utf-8")


def test_python_examples(text: str, workplace: Path) -> None:
    pytest.importorskip("torch")
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
    full, pruned, recovered = map(float, lines[0].split())
    assert full < recovered < pruned
    assert lines[1] == "True"  # moments in parts have seen all tokens
    assert [line.split()[0] for line in lines[2:12]] == [str(step) for step in range(1, 11)]
    before, best = map(float, lines[12].split())
    assert best <= before
    assert lines[-2] == str(dict.fromkeys(modules(workplace), "low_rank"))
    assert "(16, 128)" in lines[-1]


def modules(workplace: Path) -> list[int]:
    return [adapter.sublayer for adapter in pc.Adapters.load(workplace / "adapters")]


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
    assert done.stdout.count("lost loss won back") == 2
    assert pc.Adapters.load(workplace / "trained").summary.steps == 5


def test_c_example_names_what_the_header_has(text: str, repository_root: Path) -> None:
    header = (repository_root / "include" / "prunecore.h").read_text(encoding="utf-8")
    (block,) = re.findall(r"```c\n(.*?)```", text, re.DOTALL)
    assert block.count("options.") == 3
    for name in re.findall(r"(?:\bprune_|\bPRUNE_|(?<=options\.))\w+", block):
        assert name in header
