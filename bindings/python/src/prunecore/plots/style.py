# SPDX-License-Identifier: Apache-2.0
"""What all pictures have in common: colours, markers, words, and how they are saved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prunecore._native.paths import as_path
from prunecore._native.whole_file import write_whole
from prunecore.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DashPattern = str | tuple[int, tuple[int, ...]]


class Series(NamedTuple):
    """How one series is drawn."""

    colour: str
    marker: str
    line: DashPattern


# Okabe & Ito's palette, in an order in which neighbours also differ in lightness.
SERIES: tuple[Series, ...] = (
    Series("#0072B2", "o", "-"),
    Series("#D55E00", "s", "--"),
    Series("#009E73", "^", "-."),
    Series("#000000", "D", ":"),
    Series("#CC79A7", "v", (0, (5, 1))),
    Series("#E69F00", "P", (0, (3, 1, 1, 1))),
    Series("#56B4E9", "X", (0, (1, 1))),
    Series("#999999", "<", (0, (3, 3))),
    Series("#0072B2", ">", (0, (5, 1, 1, 1, 1, 1))),
    Series("#D55E00", "*", (0, (8, 2))),
)

GRANULARITY_SERIES: Mapping[str, Series] = {
    "attention": SERIES[0],
    "feed_forward": SERIES[1],
    "block": SERIES[2],
    "sublayer": SERIES[3],
    "players": SERIES[4],
}

SUFFIXES = (".png", ".svg", ".pdf")
FONT_SIZE = 9


def words(name: str) -> str:
    """A name as people write it: "feed-forward", "leave-one-out loss"."""
    spelled = {
        "feed_forward": "feed-forward",
        "l1": "L1",
        "l2": "L2",
        "relative_l1": "relative L1",
        "relative_l2": "relative L2",
        "leave_one_out_loss": "leave-one-out loss",
        "leave_one_out_logit_l2": "leave-one-out logit L2",
        "leave_one_out": "leave-one-out",
        "shapley": "Shapley value",
        "banzhaf": "Banzhaf value",
        "kernel_shap": "KernelSHAP",
        "players": "group",
        "low_rank": "low-rank",
        "closed_form": "closed form",
        "mse": "MSE",
        "mse_from_zero": "MSE from zero",
        "ce": "CE",
        "ce_from_zero": "CE from zero",
        "kl": "KL",
        "kl_from_zero": "KL from zero",
        "js": "JS",
        "one_shot": "one-shot",
    }
    return spelled.get(name, name.replace("_", " "))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, which keeps its parts from overlapping."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Axes) -> None:
    """Takes away what says nothing: two of the frame's sides; adds a light grid behind the data."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=FONT_SIZE - 1)


def checked_suffix(path: Path) -> str:
    """The suffix of a picture's file. Raises `ArgumentError` if it is none that can be saved."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ArgumentError(f"{path} must end in one of {', '.join(SUFFIXES)}")
    return suffix


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Saves a figure as its suffix says (.png, .svg or .pdf). The same figure gives the same bytes.

    Raises
    ------
    ArgumentError
        The suffix is another one.
    FileError
        The file cannot be written.
    """
    from matplotlib import rc_context

    target = as_path(path)
    suffix = checked_suffix(target)
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    content = BytesIO()
    with rc_context({"svg.hashsalt": "prunecore"}):
        figure.savefig(content, format=suffix[1:], dpi=150, metadata=dates.get(suffix))
    write_whole(target, content.getvalue())
