# SPDX-License-Identifier: Apache-2.0
"""Results draw themselves through this one function.

Pictures stand above results in the package, and matplotlib is slow to load: both are loaded when
something is drawn.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(
    name: str, *arguments: Any, path: str | os.PathLike[str] | None = None, **options: Any
) -> Figure:
    """Draws with a function of `prunecore.plots`, and saves the picture where a path is given."""
    from prunecore import plots

    figure: Figure = getattr(plots, name)(*arguments, **options)
    if path is not None:
        plots.save_figure(figure, path)
    return figure
