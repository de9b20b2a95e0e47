# SPDX-License-Identifier: Apache-2.0
"""Shapley values over depth with their uncertainty, beside other scores if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore.errors import ArgumentError
from prunecore.plots.panels import legend_above
from prunecore.plots.style import FONT_SIZE, GRANULARITY_SERIES, Series, new_figure, tidy, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from prunecore.importance.scores import Scores
    from prunecore.shapley.scores import ShapleyScores

Values = npt.NDArray[np.float64]

COVER = 1.96
"""Standard errors to each side that cover the exact value in 95 of 100 cases."""

_OUTLIER = 8.0
_UNITS = {
    "loss": "nats per token",
    "logit_l2": "L2 of the logits",
    "kl": "nats per token",
    "js": "nats per token",
    "choice_error": "share of questions",
    "choice_loss": "nats per question",
}


def shapley_values(
    found: ShapleyScores, beside: Scores | None = None, metrics: Sequence[str] | None = None
) -> Figure:
    """Draws what each unit adds, with bars that cover the exact values in 95 of 100 cases.

    Where there is too little to tell how sure a value is, its marker is hollow. An axis is linear
    near 0 and logarithmic beyond where one unit stands out by far.

    Parameters
    ----------
    found : ShapleyScores
        Of sublayers: drawn as two series, attention and feed-forward.
    beside : Scores, optional
        Other scores of the same units: a panel for each metric.
    metrics : sequence of str, optional
        Which metrics of `beside`. Default: all.
    """
    names: list[str] = []
    if beside is not None:
        if beside.unit_names != found.unit_names:
            raise ArgumentError(
                f"the other scores are of each {beside.granularity} of {beside.n_blocks} blocks, "
                f"but these of each {found.granularity} of {found.n_blocks}"
            )
        names = [beside.chosen_metric(m) for m in (beside.metrics if metrics is None else metrics)]
    width = max(5.6, 0.16 * len(found.unit_names) + 2.0)
    figure = new_figure(width, 3.4 + 2.3 * len(names))
    panels = figure.subplots(1 + len(names), 1, squeeze=False, sharex=True)[:, 0]
    _draw(panels[0], found.granularity, found.values, COVER * found.standard_errors)
    measure = str(found.provenance.get("measure", ""))
    panels[0].set_ylabel(
        f"{words(found.metrics[0])}\n({_UNITS.get(measure, 'worth')})", fontsize=FONT_SIZE
    )
    for panel, name in zip(panels[1:], names, strict=True):
        assert beside is not None  # it has given the names
        _draw(panel, beside.granularity, beside[name], None)
        panel.set_ylabel(words(name), fontsize=FONT_SIZE)
    _label_units(panels[-1], found)
    panels[0].set_title(_title(found), fontsize=FONT_SIZE + 1)
    if found.granularity == "sublayer":
        legend_above(figure, [panels[0]], 2)
    return figure


def _title(found: ShapleyScores) -> str:
    parts = [f"{words(found.state.estimator)}, {found.state.told:,} coalitions"]
    if np.any(found.standard_errors > 0):
        parts.append("bars: 95 % intervals")
    if not np.all(np.isfinite(found.standard_errors)):
        parts.append("hollow: not known")
    return f"What each unit adds\n{'; '.join(parts)}"


def _draw(panel: Axes, granularity: str, values: Values, margins: Values | None) -> None:
    panel.axhline(0, color="#888888", linewidth=0.8)
    series = _series(granularity, len(values))
    for place, (style, label, part) in enumerate(series):
        # A little apart, so that the bars of the two kinds can be told from each other.
        along = np.arange(len(values[part])) + 0.16 * (place - (len(series) - 1) / 2)
        bars = None
        if margins is not None:
            bars = np.where(np.isfinite(margins[part]), margins[part], 0.0)
        panel.errorbar(
            along,
            values[part],
            yerr=bars,
            color=style.colour,
            marker=style.marker,
            linestyle=style.line,
            markersize=4,
            linewidth=0.9,
            elinewidth=1.4,
            capsize=2.5,
            label=label,
        )
        if margins is not None:
            unknown = ~np.isfinite(margins[part])
            panel.plot(
                along[unknown],
                values[part][unknown],
                color=style.colour,
                marker=style.marker,
                markerfacecolor="white",
                markersize=5,
                linestyle="none",
                zorder=5,
            )
    typical = float(np.median(np.abs(values)))
    if typical > 0 and float(np.max(np.abs(values))) > _OUTLIER * typical:
        from matplotlib.ticker import FuncFormatter, NullLocator

        panel.set_yscale("symlog", linthresh=2 * typical)
        panel.yaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    tidy(panel)


def _series(granularity: str, units: int) -> list[tuple[Series, str, slice]]:
    if granularity == "sublayer":
        return [
            (GRANULARITY_SERIES["attention"], "attention", slice(0, units, 2)),
            (GRANULARITY_SERIES["feed_forward"], words("feed_forward"), slice(1, units, 2)),
        ]
    return [(GRANULARITY_SERIES[granularity], words(granularity), slice(0, units))]


def _label_units(panel: Axes, found: ShapleyScores) -> None:
    from matplotlib.ticker import MaxNLocator

    if found.granularity == "players":
        places = range(len(found.unit_names))
        panel.set_xticks(places, list(found.unit_names), rotation=90, fontsize=FONT_SIZE - 1)
        return
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    panel.set_xlabel("block", fontsize=FONT_SIZE)
