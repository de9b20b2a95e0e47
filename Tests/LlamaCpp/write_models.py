# SPDX-License-Identifier: Apache-2.0
"""Writes small random checkpoints for verify.py, which runs without PyTorch.

python Tests/LlamaCpp/write_models.py DIRECTORY FAMILIES_DIRECTORY

The first gets those like Llama, the second those of all families.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Python" / "support"))

from family_models import CASES, write_case  # noqa: E402
from gguf_family_cases import MORE  # noqa: E402
from random_models import CHECKPOINTS, write_checkpoint  # noqa: E402


def main() -> int:
    """The command line."""
    directory, families = (Path(given) for given in sys.argv[1:3])
    for name in CHECKPOINTS:
        if name.endswith("-float32") and not (directory / name / "model.safetensors").is_file():
            write_checkpoint(name, directory / name)
    for case in (*CASES.values(), *MORE):
        if not (families / case.name / "model.safetensors").is_file():
            write_case(case, families / case.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
