# SPDX-License-Identifier: Apache-2.0
"""Pictures of diagnoses: that they show the numbers, and that no text lies on another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from figures import check_texts_are_apart, texts

PARTS = ("variance", "angular", "gradients", "removals")


def diagnosis_of(n_blocks: int, **changes: Any) -> pc.Diagnosis:
    """Made-up numbers, such as those of a real model."""
    rng = np.random.default_rng(n_blocks)
    depth = np.arange(2 * n_blocks + 1)
    angular = np.full((n_blocks, n_blocks), np.nan)
    for n in range(n_blocks):
        angular[n, : n_blocks - n] = rng.uniform(0.05, 0.1 + 0.4 * n / n_blocks, n_blocks - n)
    found: dict[str, Any] = {
        "n_blocks": n_blocks,
        "removed": (),
        "angular_below": 0.1,
        "loss_below": 0.02,
        "loss": 2.5,
        "state_variance": 0.01 * 1.4**depth,
        "token_variance": 0.008 * 1.3**depth,
        "update_variance": 0.01 * 1.3 ** depth[1:],
        "token_update_variance": 0.004 * 1.3 ** depth[1:],
        "angular": angular,
        "sublayer_angular": rng.uniform(0.02, 0.2, 2 * n_blocks),
        "gradient_norm": 3.0 / (1 + depth[::2]),
        "gradient_change": rng.uniform(0.1, 0.9, n_blocks),
        "taylor": rng.uniform(2, 9, n_blocks),
        "loss_increase": rng.uniform(0.01, 2, n_blocks),
        "sublayer_loss_increase": rng.uniform(0.005, 1, 2 * n_blocks),
        "missing": {},
        "provenance": {},
    }
    return pc.Diagnosis(**found | changes)


def drawn(panel: Any) -> dict[str, np.ndarray]:
    """The values of every line, by its label."""
    return {line.get_label(): np.asarray(line.get_ydata()) for line in panel.lines}


def test_angular_distances_share_one_scale_from_0_to_1() -> None:
    found = diagnosis_of(12)
    figure = found.plot(kind="angular")
    (image,) = figure.axes[0].images
    assert image.get_clim() == (0, 1) and image.origin == "lower"
    shown = np.ma.filled(image.get_array().astype(float), np.nan)
    np.testing.assert_array_equal(shown, found.angular)
    assert {"angular distance (units of pi)", "blocks in the window, n"} <= set(texts(figure))


def test_variances_are_drawn_by_depth_on_a_logarithmic_axis() -> None:
    found = diagnosis_of(6)
    left, right = found.plot(kind="variance").axes
    assert left.get_yscale() == right.get_yscale() == "log"
    np.testing.assert_array_equal(drawn(left)["all tokens"], found.state_variance)
    np.testing.assert_array_equal(drawn(left)["one token, median"], found.token_variance)
    assert left.lines[0].get_xdata()[-1] == 6
    assert found.token_update_variance is not None
    np.testing.assert_array_equal(drawn(right)["attention"], found.token_update_variance[::2])
    np.testing.assert_array_equal(drawn(right)["feed-forward"], found.token_update_variance[1::2])


def test_gradients_have_a_panel_for_the_weights_where_these_are_known() -> None:
    found = diagnosis_of(6)
    panels = found.plot(kind="gradients").axes
    np.testing.assert_array_equal(drawn(panels[0])["gradient"], found.gradient_norm)
    np.testing.assert_array_equal(drawn(panels[1])["change"], found.gradient_change)
    np.testing.assert_array_equal(drawn(panels[2])["taylor"], found.taylor)
    assert len(diagnosis_of(6, taylor=None).plot(kind="gradients").axes) == 2


def test_losses_are_drawn_with_the_bound() -> None:
    found = diagnosis_of(6)
    panel = found.plot(kind="removals").axes[0]
    lines = drawn(panel)
    assert panel.get_yscale() == "log" and set(lines["bound"]) == {0.02}
    np.testing.assert_array_equal(lines["block"], found.loss_increase)
    assert found.sublayer_loss_increase is not None
    np.testing.assert_array_equal(lines["feed-forward"], found.sublayer_loss_increase[1::2])
    lower = np.array([0.5, -0.01, 0, 0.1, 0.2, 1])
    helped = diagnosis_of(6, loss_increase=lower).plot(kind="removals").axes[0]
    assert helped.get_yscale() == "symlog"


@pytest.mark.parametrize("n_blocks", [5, 40])
@pytest.mark.parametrize("kind", PARTS)
def test_texts_of_pictures_of_diagnoses_do_not_overlap(kind: Any, n_blocks: int) -> None:
    check_texts_are_apart(diagnosis_of(n_blocks).plot(kind=kind))


def test_a_picture_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        diagnosis_of(6).plot(tmp_path / f"{name}.svg", kind="variance")
    first, second = ((tmp_path / f"{name}.svg").read_bytes() for name in ("a", "b"))
    assert first == second and len(first) > 1000


def test_wrong_kinds_of_pictures_are_refused() -> None:
    with pytest.raises(pc.ArgumentError, match="kind is 'pie', but must be one of variance"):
        diagnosis_of(3).plot(kind="pie")  # type: ignore[arg-type]
    lacking = diagnosis_of(3, gradient_norm=None, missing={"gradients": "no such thing"})
    with pytest.raises(pc.ArgumentError, match="no gradients to draw: no such thing"):
        lacking.plot(kind="gradients")
