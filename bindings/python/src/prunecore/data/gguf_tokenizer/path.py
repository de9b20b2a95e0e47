# SPDX-License-Identifier: Apache-2.0
"""Paths that name a GGUF file."""

from __future__ import annotations

from pathlib import Path

from prunecore.data.gguf_tokenizer.metadata import MAGIC


def is_gguf(path: Path) -> bool:
    """Whether a path is that of a GGUF file: by its name, or by its first bytes.

    A folder may be called so, too; and programs that keep models under names of their own, such as
    Ollama, give their files none that says what they are.
    """
    if path.suffix.lower() == ".gguf":
        return not path.is_dir()
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False
