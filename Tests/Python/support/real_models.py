# SPDX-License-Identifier: Apache-2.0
"""Models that people use, where `make models` or `make models-gemma` has brought them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def real_model(name: str) -> Path:
    """The GGUF file of a model: "smollm2" or "gemma3". Skips the test where it is not there."""
    path = ROOT / "build" / "models" / f"{name}.gguf"
    if not path.is_file():
        target = {"smollm2": "models", "gemma3": "models-gemma"}[name]
        pytest.skip(f"build/models/{name}.gguf is not there: `make {target}` fetches it")
    return path
