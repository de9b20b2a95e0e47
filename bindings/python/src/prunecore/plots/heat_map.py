# SPDX-License-Identifier: Apache-2.0
"""Which units each metric holds for unimportant, as a map of metrics by units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore.plots.style import FONT_SIZE, new_figure, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from prunecore.importance.scores import Scores


def heat_map(scores: Scores, metrics: Sequence[str]) -> Figure:
    """Draws the rank of every unit by every metric: 0 (dark) is removed first.

    Ranks, not values: metrics have different units, and one outlier would hide all the rest.

    Parameters
    ----------
    scores : Scores
        Of any granularity; one column per unit.
    metrics : sequence of str
        One row each.
    """
    units = len(scores.unit_names)
    table = np.array([_ranks(scores[metric]) for metric in metrics])
    figure = new_figure(max(5.0, 0.24 * units + 3.0), 0.32 * len(metrics) + 2.0)
    axes = figure.subplots()
    image = axes.imshow(table, cmap="cividis", aspect="auto", vmin=0, vmax=units - 1)
    axes.set_yticks(range(len(metrics)), [words(metric) for metric in metrics], fontsize=FONT_SIZE)
    axes.set_xticks(range(units), list(scores.unit_names), rotation=90, fontsize=FONT_SIZE - 1)
    # Thin lines between the cells let a single one be traced to its labels.
    axes.set_xticks(np.arange(-0.5, units), minor=True)
    axes.set_yticks(np.arange(-0.5, len(metrics)), minor=True)
    axes.grid(which="minor", color="white", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.01)
    bar.set_label("rank (0 = removed first)", fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=FONT_SIZE - 1)
    axes.set_title(
        f"Rank of each {words(scores.granularity)} by importance", fontsize=FONT_SIZE + 1
    )
    return figure


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values))
    return ranks
