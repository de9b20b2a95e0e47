# SPDX-License-Identifier: Apache-2.0
"""Strategies of searches: the loss that each ends with, and what each takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunecore.errors import ArgumentError
from prunecore.plots.panels import UNITS, draw_line, legend_above, whole_numbers
from prunecore.plots.style import FONT_SIZE, SERIES, Series, new_figure, tidy, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from prunecore.studies.search_study import SearchStudy

# One colour for a strategy, the other lines of which are broken in other ways.
METHOD_SERIES: dict[str, Series] = {
    "exhaustive": Series("#000000", "D", ":"),
    "evolutionary": Series("#D55E00", "s", "-"),
    "greedy": Series("#0072B2", "o", "-"),
    "greedy, no exchanges": Series("#0072B2", "x", "--"),
    "greedy, 6 candidates": Series("#0072B2", "+", ":"),
    "one-shot, leave-one-out loss": Series("#009E73", "^", "-"),
    "one-shot, cosine": Series("#009E73", "v", "--"),
    "one-shot, relative L2": Series("#009E73", "<", ":"),
    "window, loss": Series("#CC79A7", "P", "-"),
    "window, angular": Series("#CC79A7", "X", "--"),
    "tail": Series("#E69F00", ">", "-."),
    "random": Series("#999999", "*", (0, (3, 3))),
}


def search_losses(study: SearchStudy) -> Figure:
    """Draws the held-out loss by number of units removed, and under it the cost of the search.

    One column per granularity, one line per method, logarithmic scales. Costs are evaluations of
    sublayers on all the data; what takes none has no line there.
    """
    if not study.points:
        raise ArgumentError("the study has no points to draw")
    granularities = list(dict.fromkeys(point.granularity for point in study.points))
    figure = new_figure(3.8 * len(granularities) + 0.6, 6.0)
    panels = figure.subplots(2, len(granularities), squeeze=False, sharex="col", sharey="row")
    for column, granularity in enumerate(granularities):
        upper, lower = panels[0][column], panels[1][column]
        for position, method in enumerate(study.methods):
            style = METHOD_SERIES.get(method, SERIES[position % len(SERIES)])
            points = [
                point
                for point in study.points
                if (point.granularity, point.method) == (granularity, method)
            ]
            counts = [point.n_removed for point in points]
            # A method without a point here has no line in the legend either.
            label = words(method) if points else "_none"
            draw_line(upper, counts, [point.loss for point in points], style, label)
            costs = [point.sublayers for point in points]
            if costs and min(costs) > 0:
                draw_line(lower, counts, costs, style, label)
        upper.axhline(study.loss, color="#999999", linewidth=0.8)
        upper.set_title(UNITS[granularity], fontsize=FONT_SIZE)
        lower.set_xlabel(f"{UNITS[granularity]} removed", fontsize=FONT_SIZE)
        for panel in (upper, lower):
            whole_numbers(panel)
            tidy(panel)
    panels[0][0].set_ylabel("held-out loss (nats per token)", fontsize=FONT_SIZE)
    panels[1][0].set_ylabel("sublayer evaluations", fontsize=FONT_SIZE)
    _scale_losses(panels[0][0])
    panels[1][0].set_yscale("log")
    # The column with most methods: not every granularity has an exhaustive optimum.
    fullest = max(panels[0], key=lambda panel: len(panel.get_legend_handles_labels()[1]))
    legend_above(figure, [fullest], 3)
    return figure


def _scale_losses(panel: Axes) -> None:
    from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

    panel.set_yscale("log")
    panel.yaxis.set_major_locator(MaxNLocator(nbins=8))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(ScalarFormatter())
