# SPDX-License-Identifier: Apache-2.0
"""The estimators' errors as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunecore.plots import save_figure
from prunecore.plots.style import FONT_SIZE, Series, new_figure, tidy

from benchmarks.estimators.parts.contenders import CONTENDERS, DEFAULT
from benchmarks.estimators.parts.report import LOSSES
from benchmarks.estimators.parts.summary import SINGULAR, readable

# Okabe & Ito's colours; PruneCore's lines are unbroken with filled markers, the others are neither.
STYLES = {
    "surrogate": Series("#000000", "o", "-"),
    "kernel_shap": Series("#0072B2", "s", "-"),
    "stratified": Series("#E69F00", "^", "-"),
    "antithetic": Series("#009E73", "D", "-"),
    "truncated": Series("#CC79A7", "P", "-"),
    "permutation": Series("#56B4E9", "v", "-"),
    "shapiq KernelSHAP, paired": Series("#0072B2", "s", "--"),
    "shapiq KernelSHAP": Series("#D55E00", "X", (0, (1, 1))),
    "shapiq KernelSHAP, leverage weights": Series("#009E73", ">", "-."),
    "shapiq kADDSHAP, order 2": Series("#D55E00", "*", (0, (5, 1))),
    "shapiq PermutationSamplingSV": Series("#56B4E9", "v", (0, (3, 1, 1, 1))),
    "shapiq SVARM": Series("#E69F00", "^", (0, (3, 3))),
}

TICKS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


def save_all(results: dict[str, Any], directory: Path, name: str) -> None:
    """Error by evaluations as NAME.png, and by sublayers computed as NAME_cost.png."""
    directory.mkdir(parents=True, exist_ok=True)
    along = {"": ("budget", "evaluations"), "_cost": ("sublayers", "sublayers computed")}
    for suffix, (quantity, label) in along.items():
        figure = _figure(results["summary"], quantity, label)
        save_figure(figure, directory / f"{name}{suffix}.png")


def _figure(summary: dict[str, Any], quantity: str, label: str) -> Any:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure = new_figure(4.3 * len(summary) + 2.4, 4.6)
    panels = figure.subplots(1, len(summary), squeeze=False)[0]
    for panel, (loss, contenders) in zip(panels, summary.items(), strict=True):
        for name, cells in contenders.items():
            if not CONTENDERS[name].estimates_shapley:
                continue
            points = [
                (float(budget) if quantity == "budget" else cell[quantity], cell["error"])
                for budget, cell in cells.items()
                if readable(cell)
            ]
            style = STYLES[name]
            ours = CONTENDERS[name].has_errors
            panel.plot(
                *zip(*points, strict=True),
                color=style.colour,
                marker=style.marker,
                linestyle=style.line,
                markerfacecolor=style.colour if ours else "white",
                markersize=6 if name == DEFAULT else 5,
                linewidth=2.2 if name == DEFAULT else 1.3,
                zorder=3 if name == DEFAULT else 2,
                label=f"{name.replace('_', ' ')}{' (default)' if name == DEFAULT else ''}",
            )
        panel.set_xscale("log")
        panel.set_yscale("log")
        budgets = [float(budget) for budget in next(iter(contenders.values()))]
        panel.xaxis.set_major_locator(FixedLocator(budgets if quantity == "budget" else TICKS))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.set_xlabel(label, fontsize=FONT_SIZE)
        panel.set_title(LOSSES[loss], fontsize=FONT_SIZE + 1)
        tidy(panel)
    left_out = any(
        (cell["error"] or 0.0) >= SINGULAR
        for contenders in summary.values()
        for cells in contenders.values()
        for cell in cells.values()
    )
    note = f" (points above {SINGULAR:g} left out)" if left_out else ""
    panels[0].set_ylabel(f"mean relative squared error{note}", fontsize=FONT_SIZE)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside right center",
        fontsize=FONT_SIZE - 1,
        frameon=False,
        handlelength=4,
    )
    return figure
