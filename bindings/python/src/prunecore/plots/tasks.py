# SPDX-License-Identifier: Apache-2.0
"""Tasks against each other: how alike they are, what they do to each other, the compromises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from prunecore.errors import ArgumentError
from prunecore.plots.style import FONT_SIZE, SERIES, new_figure, tidy, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from prunecore.studies.task_comparison import TaskComparison, Values

_COLUMNS = 3


def task_correlation(comparison: TaskComparison) -> Figure:
    """Draws Spearman's correlation of the tasks' importances, each number in its cell."""
    tasks = comparison.tasks
    figure = new_figure(*_square(tasks, 2.6))
    axes = figure.subplots()
    image = _cells(axes, comparison.spearman, -1.0, 1.0, _correlation)
    _name_cells(axes, tasks, tasks)
    bar = figure.colorbar(image, ax=axes, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.ax.tick_params(labelsize=FONT_SIZE - 1)
    bar.set_label("Spearman's correlation", fontsize=FONT_SIZE)
    axes.set_title(
        f"Importance of each {_unit(comparison)},\nby {words(comparison.metric)}",
        fontsize=FONT_SIZE,
    )
    return figure


def task_sufficiency(comparison: TaskComparison) -> Figure:
    """Draws the information sufficiency between tasks, each share with its error in its cell.

    Parameters
    ----------
    comparison : TaskComparison
        Of which the sufficiency was measured.
    """
    found = comparison.information
    if found is None:
        raise ArgumentError("the sufficiency was not measured: there is nothing to draw")
    tasks = comparison.tasks
    figure = new_figure(*_square(tasks, 2.6))
    axes = figure.subplots()
    shares = found.estimate.shares
    image = _cells(axes, shares, min(0.0, float(shares.min())), 1.0, _share)
    _name_cells(axes, tasks, tasks)
    axes.set_ylabel("the model pruned for", fontsize=FONT_SIZE)
    axes.set_xlabel("determines of the model pruned for", fontsize=FONT_SIZE)
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.ax.tick_params(labelsize=FONT_SIZE - 1)
    bar.set_label("information sufficiency", fontsize=FONT_SIZE)
    plural = "" if found.n_removed == 1 else "s"
    axes.set_title(
        f"{found.n_removed} {_unit(comparison)}{plural} removed,\nby {words(comparison.metric)}",
        fontsize=FONT_SIZE,
    )
    return figure


def task_damage(comparison: TaskComparison, n_removed: int | Sequence[int] | None = None) -> Figure:
    """Draws what removing the units that matter least to one task does to each task.

    Parameters
    ----------
    comparison : TaskComparison
        Of any number of tasks.
    n_removed : int or sequence of int, optional
        One panel each. Default: a third, two thirds, and all of the units removed at most.
    """
    if n_removed is None:
        n_removed = _thirds(comparison)
    counts = _checked(comparison, n_removed)
    tasks = comparison.tasks
    rows = math.ceil(len(counts) / _COLUMNS)
    columns = min(_COLUMNS, len(counts))
    width, height = _square(tasks, 1.6)
    # Only the first panel of a row has names to its left.
    figure = new_figure((width - 0.9) * columns + 1.8, (height + 0.3) * rows + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False)
    shown = 100 * comparison.damage[counts]
    low, high = min(0.0, float(shown.min())), max(float(shown.max()), 1e-9)
    image = None
    for panel, count, table in zip(panels.flat, counts, shown, strict=False):
        image = _cells(panel, table, low, high, _percent)
        _name_cells(panel, tasks, tasks)
        panel.set_title(f"{count} removed", fontsize=FONT_SIZE)
        panel.set_xlabel("measured on", fontsize=FONT_SIZE)
    for panel in panels.flat[len(counts) :]:
        panel.set_visible(False)
    for row in panels:
        row[0].set_ylabel("least important to", fontsize=FONT_SIZE)
        for panel in row[1:]:
            panel.tick_params(axis="y", labelleft=False)
    figure.suptitle(
        f"{_unit(comparison).capitalize()}s removed by {words(comparison.metric)}",
        fontsize=FONT_SIZE + 1,
    )
    if image is not None:
        bar = figure.colorbar(image, ax=panels, pad=0.02)
        bar.ax.tick_params(labelsize=FONT_SIZE - 1)
        bar.set_label("increase of the loss (%)", fontsize=FONT_SIZE)
    return figure


def task_front(comparison: TaskComparison, n_removed: int | Sequence[int] | None = None) -> Figure:
    """Draws the compromises between tasks: losses of two tasks against each other.

    One panel per pair of tasks and per number removed. Filled points are on the front; with more
    than two tasks, that of all of them together, so that a pair alone need not show why.

    Parameters
    ----------
    comparison : TaskComparison
        Of two tasks or more.
    n_removed : int or sequence of int, optional
        Default: the most; of two tasks also a third and two thirds of it.
    """
    if n_removed is None:
        is_pair = len(comparison.tasks) == 2
        n_removed = _thirds(comparison) if is_pair else comparison.max_removed
    counts = _checked(comparison, n_removed)
    pairs = list(combinations(range(len(comparison.tasks)), 2))
    columns = len(counts) if len(pairs) == 1 else min(_COLUMNS, len(pairs))
    rows = math.ceil(len(pairs) * len(counts) / columns)
    figure = new_figure(3.1 * columns + 0.5, 3.0 * rows + 0.9)
    panels = figure.subplots(rows, columns, squeeze=False)
    drawn = [(count, *pair) for count in counts for pair in pairs]
    for panel, (count, one, two) in zip(panels.flat, drawn, strict=False):
        _scatter(panel, comparison, count, one, two)
        if len(counts) > 1:
            panel.set_title(f"{count} removed", fontsize=FONT_SIZE)
    for panel in panels.flat[len(drawn) :]:
        panel.set_visible(False)
    if len(counts) == 1:
        plural = "" if counts[0] == 1 else "s"
        figure.suptitle(
            f"Loss (nats per token), {counts[0]} {_unit(comparison)}{plural} removed",
            fontsize=FONT_SIZE,
        )
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=max(2, 2 * columns - 1),
        fontsize=FONT_SIZE,
        frameon=False,
    )
    return figure


def _scatter(panel: Axes, comparison: TaskComparison, count: int, one: int, two: int) -> None:
    found = comparison.compromises(count)
    points = np.array([each.losses for each in found])
    front = np.array([each.on_front for each in found])
    panel.scatter(
        points[~front, one],
        points[~front, two],
        s=26,
        facecolors="none",
        edgecolors="#777777",
        linewidths=0.9,
        label="other compromises",
    )
    panel.scatter(
        points[front, one], points[front, two], s=26, color="#222222", label="on the front"
    )
    if len(comparison.tasks) == 2:
        # Sorted by the first loss, the second one falls: what lies above the steps is beaten.
        panel.step(
            points[front, one], points[front, two], where="post", color="#222222", linewidth=0.8
        )
    for index, task in enumerate(comparison.tasks):
        style = SERIES[index % len(SERIES)]
        panel.plot(
            comparison.losses[count, index, one],
            comparison.losses[count, index, two],
            linestyle="none",
            marker=style.marker,
            markersize=9,
            markerfacecolor="none",
            markeredgecolor=style.colour,
            markeredgewidth=1.8,
            label=f"for {task} alone",
        )
    panel.margins(0.12)
    panel.set_xlabel(f"loss on {comparison.tasks[one]}", fontsize=FONT_SIZE)
    panel.set_ylabel(f"loss on {comparison.tasks[two]}", fontsize=FONT_SIZE)
    panel.locator_params(nbins=5)
    tidy(panel)


def _thirds(comparison: TaskComparison) -> list[int]:
    """A third, two thirds, and all of the units removed at most; 0 only where nothing is."""
    most = comparison.max_removed
    return sorted({max(round(most * part / 3), min(most, 1)) for part in (1, 2, 3)})


def _checked(comparison: TaskComparison, n_removed: int | Sequence[int]) -> list[int]:
    counts = [n_removed] if isinstance(n_removed, (int, np.integer)) else list(n_removed)
    for count in counts:
        if not 0 <= count <= comparison.max_removed:
            raise ArgumentError(
                f"n_removed is {count}, but must be from 0 to {comparison.max_removed}"
            )
    if not counts:
        raise ArgumentError("n_removed is empty: there is nothing to draw")
    return counts


def _square(tasks: Sequence[str], margin: float) -> tuple[float, float]:
    """Size in inches of a map with one row and one column per task."""
    label = 0.075 * max(map(len, tasks))
    side = 0.62 * len(tasks)
    return side + margin + label, side + margin * 0.6 + label


def _cells(axes: Axes, table: Values, low: float, high: float, text: object) -> AxesImage:
    image = axes.imshow(table, cmap="cividis", vmin=low, vmax=high)
    for (row, column), value in np.ndenumerate(table):
        shade = (value - low) / (high - low)
        axes.text(
            column,
            row,
            text(value),  # type: ignore[operator]
            ha="center",
            va="center",
            fontsize=FONT_SIZE,
            color="black" if shade > 0.5 else "white",
        )
    return image


def _name_cells(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), list(rows), fontsize=FONT_SIZE)
    axes.set_xticks(range(len(columns)), list(columns), fontsize=FONT_SIZE)
    long = max(map(len, columns)) > 7
    axes.tick_params(which="both", length=0, labelrotation=0)
    if long:
        axes.tick_params(axis="x", labelrotation=90)
    axes.set_xticks(np.arange(-0.5, len(columns)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(rows)), minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    for side in axes.spines.values():
        side.set_visible(False)


def _unit(comparison: TaskComparison) -> str:
    """What one unit is, as a noun that takes a plural s."""
    kind = words(comparison.granularity)
    return kind if comparison.granularity in ("sublayer", "block") else f"{kind} layer"


def _correlation(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
