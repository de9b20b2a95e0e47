# SPDX-License-Identifier: Apache-2.0
"""The Python examples of the project's README run as they are written, one after the other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_python_examples(repository_root: Path) -> None:
    text = (repository_root / "README.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    assert "model.shapley" in code
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    removed, before, after = done.stdout.splitlines()[:3]
    assert removed.count("attn.") == 4
    assert float(before) < float(after)
    pruned, recovered = map(float, done.stdout.splitlines()[-1].split())
    assert recovered < pruned
