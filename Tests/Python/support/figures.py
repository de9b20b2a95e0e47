# SPDX-License-Identifier: Apache-2.0
"""What tests look for in pictures."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image


def texts(figure: Figure) -> list[str]:
    """All texts of a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def check_texts_are_apart(figure: Figure) -> None:
    """No text of a figure lies on another one, or beyond its edge."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = []
    for panel in figure.axes:
        if not panel.get_visible():
            continue
        artists = [panel.title, panel.xaxis.label, panel.yaxis.label, *panel.texts]
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())  # matplotlib draws no others
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            for tick in ticks:
                artists += [
                    label
                    for label in (tick.label1, tick.label2)  # a colour bar's are at its right
                    if label.get_visible()
                ]
        boxes += [
            (artist.get_text(), artist.get_window_extent(renderer))
            for artist in artists
            if artist.get_text() and artist.get_visible()
        ]
    boxes += [("legend", legend.get_window_extent(renderer)) for legend in figure.legends]
    title = figure.get_suptitle()
    if title:
        boxes.append((title, figure._suptitle.get_window_extent(renderer)))
    assert len(boxes) > 8
    width, height = canvas.get_width_height()
    for name, box in boxes:
        assert box.x0 >= -1 and box.y0 >= -1, name
        assert box.x1 <= width + 1 and box.y1 <= height + 1, name
    for (name, box), (other_name, other) in combinations(boxes, 2):
        apart = (
            box.x1 <= other.x0 + 1
            or other.x1 <= box.x0 + 1
            or box.y1 <= other.y0 + 1
            or other.y1 <= box.y0 + 1
        )
        assert apart, (name, other_name)


def check_picture(path: Path) -> None:
    """A file holds a picture of some size, with something drawn on it."""
    with Image.open(path) as image:
        assert image.width > 500 and len(image.convert("L").getcolors() or []) > 8
