# SPDX-License-Identifier: Apache-2.0
"""Writes small random checkpoints of every architecture, for verify.py, which runs without PyTorch.

python Tests/LlamaCpp/write_models.py DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Python" / "parity"))

from random_models import CHECKPOINTS, write_checkpoint  # noqa: E402


def main() -> int:
    """The command line."""
    directory = Path(sys.argv[1])
    for name in CHECKPOINTS:
        if name.endswith("-float32") and not (directory / name / "model.safetensors").is_file():
            write_checkpoint(name, directory / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
