# SPDX-License-Identifier: Apache-2.0
"""Pictures: that they show the numbers, in words, and leave the caller's matplotlib alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from figures import check_texts_are_apart, texts
from matplotlib.figure import Figure
from prunecore.plots import heat_map, importance, pruning_curves, save_figure

N_BLOCKS = 6


def scores_of(granularity: str = "sublayer", seed: int = 0) -> pc.Scores:
    units = 2 * N_BLOCKS if granularity == "sublayer" else N_BLOCKS
    rng = np.random.default_rng(seed)
    values = {metric: rng.random(units) + 0.1 for metric in pc.METRICS}
    return pc.Scores(values, granularity, N_BLOCKS)


def curve_of(metric: str, granularity: str) -> pc.Curve:
    units = 2 * N_BLOCKS if granularity == "sublayer" else N_BLOCKS
    scores = pc.Scores({metric: range(units)}, granularity, N_BLOCKS)
    points = range(N_BLOCKS + 1)
    return pc.Curve(
        metric,
        granularity,
        tuple(points),
        tuple(pc.Evaluation(3 + 0.4 * n, 20, 21, 100, 100, 4) for n in points),
        tuple(scores.prune(n) for n in points),
        tuple(pc.Cost(n, 1000 - 100 * n, 2000, 30, 1000 - 100 * n) for n in points),
    )


def test_importance_shows_shares_of_the_largest() -> None:
    scores = scores_of()
    figure = importance(scores, ["cosine", "leave_one_out_loss"])
    panel = figure.axes[0]
    attention, feed_forward = panel.lines
    values = scores["cosine"]
    np.testing.assert_allclose(attention.get_ydata(), values[0::2] / values.max())
    np.testing.assert_allclose(feed_forward.get_ydata(), values[1::2] / values.max())
    shown = " ".join(texts(figure))
    for word in ("attention", "feed-forward", "block", "leave-one-out loss", "nats per token"):
        assert word in shown


@pytest.mark.parametrize("worst", [0.05, -0.05, 0.0])
def test_one_outlier_does_not_press_the_others_flat(worst: float) -> None:
    values = np.array([50.0, 0.1, 0.2, 0.3, 0.2, worst])
    figure = importance(pc.Scores({"l1": values}, "block", 6), ["l1"])
    panel = figure.axes[0]
    assert panel.get_yscale() == ("log" if worst > 0 else "symlog")
    heights = panel.transData.transform([[0, 0.1 / 50], [0, 0.3 / 50]])[:, 1]
    frame = panel.transAxes.transform([[0, 0], [0, 1]])[:, 1]
    assert abs(heights[1] - heights[0]) > 0.05 * (frame[1] - frame[0])
    assert importance(scores_of(), ["l1"]).axes[0].get_yscale() == "linear"


def test_scores_that_are_all_zero_can_be_drawn(tmp_path: Path) -> None:
    zeros = pc.Scores({"l1": np.zeros(4)}, "sublayer", 2)
    zeros.plot(tmp_path / "a.png")
    zeros.plot(tmp_path / "b.png", kind="heat_map")
    assert (tmp_path / "a.png").is_file() and (tmp_path / "b.png").is_file()


def test_heat_map_holds_ranks() -> None:
    scores = scores_of()
    figure = heat_map(scores, ["l1", "cosine"])
    (image,) = figure.axes[0].images
    table = np.asarray(image.get_array())
    assert table.shape == (2, 12) and image.get_cmap().name == "cividis"
    order = [scores.unit_names[index] for index in np.argsort(table[1])]
    assert order == scores.order("cosine")
    shown = texts(figure)
    assert set(scores.unit_names) <= set(shown)
    assert "rank (0 = removed first)" in shown


def test_curves_differ_in_colour_marker_and_line() -> None:
    curves = [curve_of("cosine", granularity) for granularity in pc.GRANULARITIES]
    lines = pruning_curves(curves).axes[0].lines
    assert len(lines) == 4
    assert len({line.get_color() for line in lines}) == 4
    assert len({line.get_marker() for line in lines}) == 4
    assert len({line._unscaled_dash_pattern for line in lines}) == 4
    assert lines[0].get_ydata().tolist() == curves[0].losses.tolist()


def test_curves_name_their_axes() -> None:
    figure = pruning_curves([curve_of("cosine", "attention")])
    panel = figure.axes[0]
    assert panel.get_xlabel() == "attention layers removed"
    assert panel.get_ylabel() == "loss (nats per token)"
    by_share = pruning_curves([curve_of("cosine", "block")], by="parameters").axes[0]
    assert by_share.get_xlabel() == "parameters removed (%)"
    np.testing.assert_allclose(by_share.lines[0].get_xdata(), [0, 10, 20, 30, 40, 50, 60])


def test_panels_by_metric_and_lines_by_granularity() -> None:
    curves = [curve_of(m, g) for m in ("cosine", "random") for g in ("block", "attention")]
    figure = pruning_curves(curves)
    assert [panel.get_title() for panel in figure.axes] == [
        "removed by cosine",
        "removed at random",
    ]
    assert [len(panel.lines) for panel in figure.axes] == [2, 2]
    many = pruning_curves([curve_of(metric, "block") for metric in pc.METRICS])
    assert len(many.axes) == 1
    looks = {(line.get_color(), line.get_marker()) for line in many.axes[0].lines}
    assert len(looks) == len(pc.METRICS)


def test_texts_of_a_figure_do_not_overlap() -> None:
    for figure in (
        importance(scores_of(), pc.METRICS),
        importance(scores_of("block"), ["cosine"]),
        pruning_curves([curve_of(m, g) for m in ("l1", "l2") for g in pc.GRANULARITIES]),
        pruning_curves([curve_of(metric, "block") for metric in pc.METRICS]),
        heat_map(scores_of(), pc.METRICS),
    ):
        check_texts_are_apart(figure)


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for suffix in (".png", ".svg", ".pdf"):
        for name in ("a", "b"):
            scores_of().plot(tmp_path / f"{name}{suffix}")
        first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("a", "b"))
        assert first == second and len(first) > 1000


def test_plots_refuse_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(pc.ArgumentError, match=r"\.png, \.svg, \.pdf"):
        scores_of().plot(tmp_path / "a.bmp")
    (tmp_path / "none").touch()
    with pytest.raises(pc.FileError, match="cannot be written"):
        save_figure(Figure(), tmp_path / "none" / "a.png")
    with pytest.raises(pc.ArgumentError, match="no metric 'best'"):
        scores_of().plot(metrics=["best"])
    with pytest.raises(pc.ArgumentError, match="kind"):
        scores_of().plot(kind="pie")  # type: ignore[arg-type]
    with pytest.raises(pc.ArgumentError, match="no curve"):
        pruning_curves([])
    with pytest.raises(pc.ArgumentError, match="by is"):
        pruning_curves([curve_of("l1", "block")], by="time")  # type: ignore[arg-type]


def test_the_backend_of_the_caller_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import sys, prunecore as pc\n"
        "assert 'matplotlib' not in sys.modules\n"
        "pc.Scores({'l1': [1.0, 2.0]}, 'block', 2).plot(sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    path = tmp_path / "a.png"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.stat().st_size > 1000
