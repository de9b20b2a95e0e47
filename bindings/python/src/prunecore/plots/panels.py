# SPDX-License-Identifier: Apache-2.0
"""What panels are made of: a line per series, ticks at whole numbers, a legend above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore.plots.style import FONT_SIZE, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float] | npt.NDArray[np.float64]

UNITS: Mapping[str, str] = {
    "attention": "attention layers",
    "feed_forward": "feed-forward layers",
    "block": "blocks",
    "sublayer": "sublayers",
}
"""What several units of a granularity are called."""


def draw_line(
    panel: Axes, along: Numbers, values: Numbers, style: Series, label: str, *, width: float = 1.3
) -> None:
    """Draws one series, with a marker at each value."""
    panel.plot(
        along,
        values,
        color=style.colour,
        marker=style.marker,
        linestyle=style.line,
        markersize=4,
        linewidth=width,
        label=label,
    )


def whole_numbers(panel: Axes) -> None:
    """Puts the ticks of the horizontal axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def legend_above(figure: Figure, panels: Sequence[Axes], columns: int) -> None:
    """Names the series of these panels above the figure, in at most so many columns."""
    found = [panel.get_legend_handles_labels() for panel in panels]
    handles = [handle for some, _ in found for handle in some]
    labels = [label for _, some in found for label in some]
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(columns, len(labels)),
        fontsize=FONT_SIZE,
        frameon=False,
    )
