# SPDX-License-Identifier: Apache-2.0
"""The way of a search: its damage, and what is left of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunecore.plots.panels import UNITS, draw_line, legend_above, whole_numbers
from prunecore.plots.style import FONT_SIZE, SERIES, new_figure, tidy, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from prunecore.search.result import SearchResult

_DAMAGES = {
    "loss": "loss (nats per token)",
    "logit_l2": "logit L2 distance",
    "kl": "KL divergence (nats)",
    "js": "JS divergence (nats)",
    "choice_error": "share of wrong answers",
    "choice_loss": "loss of the answers (nats per question)",
}


def search_path(found: SearchResult) -> Figure:
    """Draws the damage along the path, on a second axis what is left of parameters and cache.

    Units removed run along the horizontal axis; where most of a path is at the same number of
    them, as that of "evolutionary" is, damages told.
    """
    figure = new_figure(5.6, 3.8)
    axes = figure.subplots()
    counts = [step.n_removed for step in found.path]
    rising = 2 * len(set(counts)) > len(counts)
    along = counts if rising else [step.told for step in found.path]
    draw_line(axes, along, [step.damage for step in found.path], SERIES[0], "damage")
    measure = str(found.provenance.get("measure", "damage"))
    axes.set_ylabel(_DAMAGES.get(measure, words(measure)), fontsize=FONT_SIZE)
    units = UNITS.get(str(found.provenance.get("granularity")), "units")
    axes.set_xlabel(f"{units} removed" if rising else "masks evaluated", fontsize=FONT_SIZE)
    tidy(axes)
    beside = axes.twinx()
    start = found.path[0]
    kept = [100 * step.parameters / max(1, start.parameters) for step in found.path]
    cache = [100 * step.kv_bytes / max(1, start.kv_bytes) for step in found.path]
    draw_line(beside, along, kept, SERIES[1], "parameters left")
    draw_line(beside, along, cache, SERIES[2], "key-value cache left")
    beside.set_ylim(0, 105)
    beside.set_ylabel("left, of the start (%)", fontsize=FONT_SIZE)
    beside.spines["top"].set_visible(False)
    beside.tick_params(labelsize=FONT_SIZE - 1)
    whole_numbers(axes)
    legend_above(figure, [axes, beside], 3)
    return figure
