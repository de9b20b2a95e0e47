# SPDX-License-Identifier: Apache-2.0
"""What each block of a model still does: variances, angular distances, gradients, removals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore.plots.panels import draw_line, legend_above, whole_numbers
from prunecore.plots.style import FONT_SIZE, GRANULARITY_SERIES, SERIES, new_figure, tidy, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from prunecore.diagnosis.diagnosis import Diagnosis

Values = npt.NDArray[np.float64]

_KINDS = ("attention", "feed_forward")
_BOUND = "#777777"


def diagnosed_angular(found: Diagnosis) -> Figure:
    """Draws the angular distance of every window of blocks, on one scale from 0 to 1.

    One scale for all rows and all models: colours may be compared, also between two pictures.
    """
    table = _there(found.angular)
    side = min(7.0, 0.2 * len(table) + 2.4)
    figure = new_figure(side + 1.2, side)
    axes = figure.subplots()
    image = axes.imshow(
        np.ma.masked_invalid(table), cmap="cividis", vmin=0, vmax=1, origin="lower", aspect="equal"
    )
    places = range(0, len(table), max(1, round(len(table) / 10)))
    axes.set_xticks(places, [str(place) for place in places])
    axes.set_yticks(places, [str(place + 1) for place in places])
    axes.tick_params(which="both", length=0, labelsize=FONT_SIZE - 1)
    axes.set_xlabel("first block of the window", fontsize=FONT_SIZE)
    axes.set_ylabel("blocks in the window, n", fontsize=FONT_SIZE)
    for edge in axes.spines.values():
        edge.set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.02, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.ax.tick_params(labelsize=FONT_SIZE - 1)
    bar.set_label("angular distance (units of pi)", fontsize=FONT_SIZE)
    axes.set_title("Angular distance over n blocks", fontsize=FONT_SIZE + 1)
    return figure


def diagnosed_variance(found: Diagnosis) -> Figure:
    """Draws the variance of the hidden state and of the updates over the depth, logarithmic."""
    figure = new_figure(7.6, 3.2)
    left, right = figure.subplots(1, 2)
    for values, style, label in (
        (found.state_variance, SERIES[3], "all tokens"),
        (found.token_variance, SERIES[4], "one token, median"),
    ):
        own = _there(values)
        places = np.flatnonzero(~np.isnan(own))
        draw_line(left, places / 2, own[places], style, label, width=1.1)
    left.set_title("hidden state", fontsize=FONT_SIZE)
    left.set_xlabel("depth (blocks before it)", fontsize=FONT_SIZE)
    updates = _there(found.token_update_variance)
    for kind, (start, label) in zip(_KINDS, _halves(updates), strict=True):
        _line(right, updates[start::2], kind, label)
    right.set_title("update of each sublayer (one token, median)", fontsize=FONT_SIZE)
    right.set_xlabel("block", fontsize=FONT_SIZE)
    for panel in (left, right):
        _logarithmic(panel)
        whole_numbers(panel)
        tidy(panel)
    left.set_ylabel("variance", fontsize=FONT_SIZE)
    legend_above(figure, [left, right], 4)
    return figure


def diagnosed_gradients(found: Diagnosis) -> Figure:
    """Draws the norm of the gradient by depth, and how much each block changes it."""
    panels = 2 if found.taylor is None else 3
    figure = new_figure(0.6 + 3.2 * panels, 2.9)
    axes = figure.subplots(1, panels)
    norms = _there(found.gradient_norm)
    draw_line(axes[0], range(len(norms)), norms, SERIES[3], "gradient")
    axes[0].set_title("norm of the gradient by a state", fontsize=FONT_SIZE)
    axes[0].set_xlabel("depth (blocks before it)", fontsize=FONT_SIZE)
    axes[0].set_ylabel("of the losses, by one token's state", fontsize=FONT_SIZE)
    changes = _there(found.gradient_change)
    draw_line(axes[1], range(len(changes)), changes, GRANULARITY_SERIES["block"], "change")
    axes[1].set_title("change of it by each block", fontsize=FONT_SIZE)
    axes[1].set_ylabel("as a share of it", fontsize=FONT_SIZE)
    if found.taylor is not None:
        draw_line(axes[2], range(len(changes)), found.taylor, SERIES[0], "taylor")
        axes[2].set_title("weights times their gradients", fontsize=FONT_SIZE)
        axes[2].set_ylabel("sum over the block (nats)", fontsize=FONT_SIZE)
    for panel in axes[1:]:
        panel.set_xlabel("block", fontsize=FONT_SIZE)
    for panel in axes:
        _logarithmic(panel)
        whole_numbers(panel)
        tidy(panel)
    return figure


def diagnosed_removals(found: Diagnosis) -> Figure:
    """Draws the increase of the loss without each block and each sublayer, and the bound."""
    figure = new_figure(5.2, 3.4)
    axes = figure.subplots()
    blocks = _there(found.loss_increase)
    lowest = [float(np.nanmin(blocks, initial=np.inf))]
    if found.sublayer_loss_increase is not None:
        sublayers = found.sublayer_loss_increase
        lowest.append(float(np.nanmin(sublayers, initial=np.inf)))
        for kind, (start, label) in zip(_KINDS, _halves(sublayers), strict=True):
            _line(axes, sublayers[start::2], kind, label)
    _line(axes, blocks, "block", "block")
    axes.axhline(found.loss_below, color=_BOUND, linewidth=1, linestyle=":", label="bound")
    if min(lowest) > 0:
        axes.set_yscale("log")
    else:  # some removal helps, or does nothing
        axes.set_yscale("symlog", linthresh=found.loss_below)
    whole_numbers(axes)
    axes.set_xlabel("block", fontsize=FONT_SIZE)
    axes.set_ylabel("increase of the loss (nats per token)", fontsize=FONT_SIZE)
    tidy(axes)
    legend_above(figure, [axes], 4)
    return figure


def _there(values: Values | None) -> Values:
    """An array that `Diagnosis.parts` says is there."""
    assert values is not None
    return values


def _halves(values: Values) -> list[tuple[int, str]]:
    """Where the series of attention and of feed-forwards begin; of whole blocks, one is empty."""
    if np.isnan(values[1::2]).all():
        return [(0, "block"), (1, "")]
    return [(0, words("attention")), (1, words("feed_forward"))]


def _line(panel: Axes, values: Values, kind: str, label: str) -> None:
    places = np.flatnonzero(~np.isnan(values))
    if label:
        draw_line(
            panel, places.tolist(), values[places], GRANULARITY_SERIES[kind], label, width=1.1
        )


def _logarithmic(panel: Axes) -> None:
    """A logarithmic axis, unless there is nothing above 0 to draw."""
    if any(np.any(np.asarray(line.get_ydata()) > 0) for line in panel.lines):
        panel.set_yscale("log")
        panel.tick_params(axis="y", which="minor", labelsize=FONT_SIZE - 2)
