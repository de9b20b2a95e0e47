# SPDX-License-Identifier: Apache-2.0
"""Recovery: the loss of pruned models with adapters of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunecore.errors import ArgumentError
from prunecore.plots.panels import UNITS, draw_line, legend_above, whole_numbers
from prunecore.plots.style import FONT_SIZE, SERIES, Series, new_figure, tidy, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from prunecore.studies.recovery_study import RecoveryStudy

# One colour for an objective; lines are broken where it started from zero.
METHOD_SERIES: dict[str, Series] = {
    "pruned": Series("#000000", "D", ":"),
    "bias": Series("#999999", "<", (0, (3, 3))),
    "closed_form": Series("#E69F00", "P", "-"),
    "mse_from_zero": Series("#009E73", "^", "--"),
    "mse": Series("#009E73", "v", "-"),
    "ce_from_zero": Series("#D55E00", "s", "--"),
    "ce": Series("#D55E00", "X", "-"),
    "kl_from_zero": Series("#0072B2", "o", "--"),
    "kl": Series("#0072B2", "*", "-"),
}


def recovery_losses(study: RecoveryStudy) -> Figure:
    """Draws the held-out loss by number of units removed, and the share won back under it.

    One column per granularity, one line per method. A study that removed one number of units of
    each granularity is drawn as bars of the share won back.
    """
    if not study.points:
        raise ArgumentError("the study has no points to draw")
    granularities = list(dict.fromkeys(point.granularity for point in study.points))
    if len(study.removals) == len(granularities):
        return _bars(study)
    figure = new_figure(3.2 * len(granularities) + 0.6, 5.6)
    panels = figure.subplots(2, len(granularities), squeeze=False, sharex="col", sharey="row")
    for column, granularity in enumerate(granularities):
        counts = [count for name, count in study.removals if name == granularity]
        upper, lower = panels[0][column], panels[1][column]
        for position, method in enumerate(study.methods):
            style = _style(method, position)
            points = [study.at(granularity, count, method) for count in counts]
            losses = [point.loss for point in points]
            draw_line(upper, [0, *counts], [study.loss, *losses], style, words(method))
            if method != "pruned":
                shares = [100 * point.share for point in points]
                draw_line(lower, counts, shares, style, words(method))
        upper.set_title(words(granularity), fontsize=FONT_SIZE)
        lower.set_xlabel(f"{UNITS[granularity]} removed", fontsize=FONT_SIZE)
        for panel in (upper, lower):
            whole_numbers(panel)
            tidy(panel)
    panels[0][0].set_ylabel("held-out loss (nats per token)", fontsize=FONT_SIZE)
    panels[1][0].set_ylabel("lost loss won back (%)", fontsize=FONT_SIZE)
    _legend(figure, panels[0][0])
    return figure


def _bars(study: RecoveryStudy) -> Figure:
    methods = [method for method in study.methods if method != "pruned"]
    figure = new_figure(1.9 * len(study.removals) + 1.4, 3.6)
    axes = figure.subplots()
    width = 0.8 / max(1, len(methods))
    for position, method in enumerate(methods):
        style = _style(method, position)
        shares = [100 * study.at(*removal, method).share for removal in study.removals]
        places = [index + width * (position + 0.5) - 0.4 for index in range(len(shares))]
        bars = axes.bar(
            places,
            shares,
            width,
            color=style.colour,
            edgecolor="white",
            hatch="//" if "zero" in method else None,
            label=words(method),
        )
        axes.bar_label(bars, fmt="%.0f", fontsize=FONT_SIZE - 2, padding=1)
    axes.set_xticks(
        range(len(study.removals)),
        [f"{count} {UNITS[name]}" for name, count in study.removals],
        fontsize=FONT_SIZE - 1,
    )
    axes.set_ylabel("lost loss won back (%)", fontsize=FONT_SIZE)
    tidy(axes)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.1)
    _legend(figure, axes)
    return figure


def _style(method: str, position: int) -> Series:
    return METHOD_SERIES.get(method, SERIES[position % len(SERIES)])


def _legend(figure: Figure, axes: Axes) -> None:
    legend_above(figure, [axes], max(2, int(figure.get_figwidth() / 1.6)))
