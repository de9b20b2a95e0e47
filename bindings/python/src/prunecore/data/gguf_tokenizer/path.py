# SPDX-License-Identifier: Apache-2.0
"""Paths that name a GGUF file."""

from __future__ import annotations

from pathlib import Path


def is_gguf(path: Path) -> bool:
    """Whether a path is that of a GGUF file, by its name; a folder may be called so, too."""
    return path.suffix.lower() == ".gguf" and not path.is_dir()
