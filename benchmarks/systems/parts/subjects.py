# SPDX-License-Identifier: Apache-2.0
"""The models that systems are tried on, and the texts beside the embedded one."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc

from benchmarks.harness.places import REPOSITORY, TALES

TEXTS = ("stories", "maths", "plays")
MODELS = {"tales-12l": TALES, "SmolLM2-135M (Q4_1)": REPOSITORY / "build/models/smollm2.gguf"}


def present() -> dict[str, Path]:
    """The models that are there; `make models` fetches SmolLM2."""
    return {name: path for name, path in MODELS.items() if path.exists()}


def documents(model: pc.Model, text: str, length: int, first: int, count: int) -> pc.Data:
    """The first tokens of some documents of a text."""
    whole = pc.Data.from_text(TALES / f"{text}.jsonl", model, None, limit=first + count)
    return pc.Data([row[:length] for row in whole.sequences[first : first + count]])
