# SPDX-License-Identifier: Apache-2.0
"""Pruning curves: the loss as more and more is removed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from prunecore.errors import ArgumentError
from prunecore.plots.panels import UNITS, draw_line, legend_above, whole_numbers
from prunecore.plots.style import (
    FONT_SIZE,
    GRANULARITY_SERIES,
    SERIES,
    Series,
    new_figure,
    tidy,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from prunecore.importance.curve import Curve

_LOSS_TICKS = (0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50)


def pruning_curves(
    curves: Sequence[Curve], *, by: Literal["n_removed", "parameters"] = "n_removed"
) -> Figure:
    """Draws pruning curves.

    Several granularities by several metrics are drawn as one panel per metric with one line per
    granularity; else there is one panel with a line per curve. The loss is drawn on a logarithmic
    scale.

    Parameters
    ----------
    curves : sequence of Curve
        At least one.
    by : {"n_removed", "parameters"}
        What runs along the horizontal axis: the number of units removed, or the share of the
        parameters removed.
    """
    if not curves:
        raise ArgumentError("there is no curve to draw")
    if by not in ("n_removed", "parameters"):
        raise ArgumentError(f"by is '{by}', but must be n_removed or parameters")
    metrics = list(dict.fromkeys(curve.metric for curve in curves))
    granularities = list(dict.fromkeys(curve.granularity for curve in curves))
    many = len(metrics) > 1 and len(granularities) > 1
    groups = [[c for c in curves if c.metric == m] for m in metrics] if many else [list(curves)]
    figure = new_figure(3.2 * len(groups) + 0.6 if many else 5.6, 3.8)
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for panel, group in zip(panels, groups, strict=True):
        for position, curve in enumerate(group):
            by_granularity = len(granularities) > 1 or len(curves) == 1
            style = (
                GRANULARITY_SERIES[curve.granularity]
                if by_granularity
                else SERIES[position % len(SERIES)]
            )
            label = words(curve.granularity if by_granularity else curve.metric)
            _draw(panel, curve, style, label, by)
    for panel in panels:  # after all are drawn: they share the vertical axis
        _dress(panel, curves, by, granularities)
    if many:
        for panel, metric in zip(panels, metrics, strict=True):
            panel.set_title(_how(metric), fontsize=FONT_SIZE)
    elif len(metrics) == 1:
        panels[0].set_title(_how(metrics[0]), fontsize=FONT_SIZE)
    panels[0].set_ylabel("loss (nats per token)", fontsize=FONT_SIZE)
    legend_above(figure, [panels[0]], 4 if len(groups[0]) < 10 else 3)  # ten in four are too wide
    return figure


def _how(metric: str) -> str:
    return "removed at random" if metric == "random" else f"removed by {words(metric)}"


def _draw(panel: Axes, curve: Curve, style: Series, label: str, by: str) -> None:
    whole = curve.cost[0].parameters
    along: list[float] = (
        [float(count) for count in curve.n_removed]
        if by == "n_removed"
        else [100.0 * (whole - cost.parameters) / whole for cost in curve.cost]
    )
    draw_line(panel, along, curve.losses, style, label)


def _dress(panel: Axes, curves: Sequence[Curve], by: str, granularities: Sequence[str]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    low = min(float(curve.losses.min()) for curve in curves)
    high = max(float(curve.losses.max()) for curve in curves)
    margin = 1.02 + 0.05 * math.log(high / low)
    panel.set_yscale("log")
    panel.set_ylim(low / margin, high * margin)
    ticks = [tick for tick in _LOSS_TICKS if low / margin <= tick <= high * margin]
    panel.yaxis.set_major_locator(FixedLocator(ticks) if len(ticks) > 1 else MaxNLocator(nbins=6))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if by == "n_removed":
        whole_numbers(panel)
        only = granularities[0] if len(granularities) == 1 else None
        unit = "units" if only is None else UNITS.get(only, f"{words(only)}s")
        panel.set_xlabel(f"{unit} removed", fontsize=FONT_SIZE)
    else:
        panel.set_xlabel("parameters removed (%)", fontsize=FONT_SIZE)
    tidy(panel)
