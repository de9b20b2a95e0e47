# SPDX-License-Identifier: Apache-2.0
"""Pictures as commands write them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prunecore.plots import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_pictures(figure: Figure, path: Path) -> list[Path]:
    """Saves a figure as PNG and as SVG; `path` is theirs without the suffix."""
    files = [path.with_name(f"{path.name}{suffix}") for suffix in (".png", ".svg")]
    for file in files:
        save_figure(figure, file)
    return files
