# SPDX-License-Identifier: Apache-2.0
"""Importance over depth, one small panel per metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore.plots.panels import draw_line, legend_above, whole_numbers
from prunecore.plots.style import FONT_SIZE, GRANULARITY_SERIES, new_figure, tidy, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from prunecore.importance.scores import Scores

_TITLE_UNITS = {"angular": "pi", "leave_one_out_loss": "nats per token"}
_OUTLIER = 8.0


def importance(scores: Scores, metrics: Sequence[str]) -> Figure:
    """Draws each metric over the depth of the model, as a share of its largest absolute value.

    An axis is logarithmic where one unit stands out by far: the first feed-forward often does.

    Parameters
    ----------
    scores : Scores
        Of any granularity. Those of sublayers are drawn as two series, attention and feed-forward.
    metrics : sequence of str
        One panel each; its title says what the largest value is.
    """
    columns = min(3, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    figure = new_figure(3.1 * columns + 0.6, 2.2 * rows + 0.8)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for panel, metric in zip(panels.flat, metrics, strict=False):
        values = scores[metric]
        largest = float(np.max(np.abs(values)))
        for granularity, series in _series(scores, values):
            style = GRANULARITY_SERIES[granularity]
            shares = series / largest if largest > 0 else series
            draw_line(panel, range(len(series)), shares, style, words(granularity), width=1.2)
        amount = f"{largest:,.0f}" if largest >= 1000 else f"{largest:.3g}"
        panel.set_title(
            f"{words(metric)}\nlargest: {amount} {_TITLE_UNITS.get(metric, '')}", fontsize=FONT_SIZE
        )
        whole_numbers(panel)
        _scale(panel, values / largest if largest > 0 else values)
        tidy(panel)
    for panel in panels.flat[len(metrics) :]:
        panel.set_visible(False)
    for panel in panels.flat[max(0, len(metrics) - columns) : len(metrics)]:
        panel.set_xlabel("block", fontsize=FONT_SIZE)
        panel.tick_params(labelbottom=True)
    figure.supylabel("importance, as a share of the largest", fontsize=FONT_SIZE)
    if scores.granularity == "sublayer":
        legend_above(figure, [panels.flat[0]], 2)
    else:
        figure.suptitle(f"Importance of each {words(scores.granularity)}", fontsize=FONT_SIZE + 1)
    return figure


def _series(
    scores: Scores, values: npt.NDArray[np.float64]
) -> list[tuple[str, npt.NDArray[np.float64]]]:
    if scores.granularity == "sublayer":
        return [("attention", values[0::2]), ("feed_forward", values[1::2])]
    return [(scores.granularity, values)]


def _scale(panel: Axes, shares: npt.NDArray[np.float64]) -> None:
    """A linear axis, or a logarithmic one where a single unit would press all others flat."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    typical = float(np.median(np.abs(shares)))
    if typical == 0 or float(np.max(shares)) < _OUTLIER * typical:
        panel.set_ylim(min(-0.05, float(np.min(shares)) * 1.1), 1.08)
        return
    if float(np.min(shares)) > 0:
        panel.set_yscale("log")
        panel.set_ylim(top=1.6)
    else:
        panel.set_yscale("symlog", linthresh=typical)
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
