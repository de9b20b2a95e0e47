# SPDX-License-Identifier: Apache-2.0
"""Pictures of tasks: that they show the numbers, and that no text lies on another."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from figures import check_texts_are_apart, texts
from prunecore.studies.gaussian_information import SufficiencyEstimate
from prunecore.studies.task_sufficiency import TaskSufficiency

N_BLOCKS = 8
NAMES = ("stories", "school maths", "plays", "a rather long name")


def comparison_of(n_tasks: int, granularity: str = "block") -> pc.TaskComparison:
    """Made-up numbers: the first tasks pull in opposite directions."""
    rng = np.random.default_rng(n_tasks)
    most, grid = 6, np.array([*np.eye(n_tasks), *rng.dirichlet(np.ones(n_tasks), 12)])
    units = 2 * N_BLOCKS if granularity == "sublayer" else N_BLOCKS
    scores = tuple(
        pc.Scores({"cosine": rng.permutation(units)}, granularity, N_BLOCKS) for _ in range(n_tasks)
    )
    masks = [
        tuple(
            pc.Scores({"c": grid[w] @ [s["cosine"] for s in scores]}, granularity, N_BLOCKS).prune(
                k
            )
            for w in range(len(grid))
        )
        for k in range(most + 1)
    ]
    level = np.linspace(0, 1.2, most + 1)
    cost = {mask: rng.random(n_tasks) for row in masks for mask in row}
    combined = np.array(
        [[2 + level[k] * cost[mask] for mask in row] for k, row in enumerate(masks)]
    )
    shares = rng.random((n_tasks, n_tasks))
    np.fill_diagonal(shares, 1)
    return pc.TaskComparison(
        tasks=NAMES[:n_tasks],
        metric="cosine",
        granularity=granularity,
        combine="rank",
        scores=scores,
        losses=combined[:, :n_tasks],
        weights=grid,
        combined_masks=tuple(masks),
        combined_losses=combined,
        provenance={},
        information=TaskSufficiency(
            estimate=SufficiencyEstimate(
                nats=shares, shares=shares, errors=shares / 50, gap_errors=shares / 40
            ),
            n_removed=most,
            adapters="bias",
            directions=16,
            explained=(0.9,) * n_tasks,
            n_samples=100,
            n_sequences=10,
            floor=0.01,
        ),
    )


def test_correlations_are_written_into_their_cells() -> None:
    found = comparison_of(3)
    figure = found.plot(kind="spearman")
    panel = figure.axes[0]
    (image,) = panel.images
    np.testing.assert_array_equal(np.asarray(image.get_array()), found.spearman)
    assert [text.get_text() for text in panel.texts] == [f"{v:.2f}" for v in found.spearman.flat]
    assert image.get_cmap().name == "cividis" and image.get_clim() == (-1, 1)
    assert set(found.tasks) <= set(texts(figure))


def test_sufficiency_is_written_into_its_cells() -> None:
    found = comparison_of(3, "attention")
    figure = found.plot(kind="sufficiency")
    panel = figure.axes[0]
    (image,) = panel.images
    np.testing.assert_array_equal(np.asarray(image.get_array()), found.sufficiency)
    wanted = [f"{share:.3f}" for share in found.sufficiency.flat]
    assert [text.get_text() for text in panel.texts] == wanted
    assert image.get_clim() == (0, 1)
    assert {"information sufficiency", *found.tasks} <= set(texts(figure))
    assert "6 attention layers removed,\nby cosine" in texts(figure)


def test_damage_is_shown_for_thirds() -> None:
    found = comparison_of(3)
    figure = found.plot(kind="damage")
    panels = figure.axes[:3]
    assert [panel.get_title() for panel in panels] == ["2 removed", "4 removed", "6 removed"]
    for panel, count in zip(panels, (2, 4, 6), strict=True):
        (image,) = panel.images
        np.testing.assert_allclose(np.asarray(image.get_array()), 100 * found.damage[count])
        assert [t.get_text() for t in panel.texts] == [
            f"{100 * v:.1f}" for v in found.damage[count].flat
        ]
    assert len({panel.images[0].get_clim() for panel in panels}) == 1  # one scale for all
    assert {"measured on", "least important to", "increase of the loss (%)"} <= set(texts(figure))
    one = found.plot(kind="damage", n_removed=5)
    assert one.axes[0].get_title() == "5 removed" and len(one.axes) == 2


def test_points_of_the_front_are_filled() -> None:
    found = comparison_of(2)
    panel = found.plot(kind="pareto", n_removed=6).axes[0]
    others, front = panel.collections
    drawn = [tuple(point) for point in front.get_offsets().tolist()]
    assert drawn == [each.losses for each in found.front(6)]
    assert len(others.get_offsets()) == len(found.compromises(6)) - len(drawn) > 0
    assert len(drawn) > 1  # or no line would join them
    steps = panel.lines[0]
    np.testing.assert_allclose(np.column_stack(steps.get_data()), drawn)
    alone = [(line.get_xdata(), line.get_ydata()) for line in panel.lines[1:]]
    np.testing.assert_allclose(np.squeeze(alone), found.losses[6])
    assert len({line.get_marker() for line in panel.lines[1:]}) == 2


def test_one_panel_for_each_pair_of_tasks() -> None:
    found = comparison_of(4)
    figure = found.plot(kind="pareto")
    panels = [panel for panel in figure.axes if panel.get_visible()]
    assert [(panel.get_xlabel(), panel.get_ylabel()) for panel in panels] == [
        (f"loss on {one}", f"loss on {two}") for one, two in combinations(found.tasks, 2)
    ]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[2:] == [f"for {task} alone" for task in found.tasks]
    pair = comparison_of(2).plot(kind="pareto")
    assert [panel.get_title() for panel in pair.axes] == ["2 removed", "4 removed", "6 removed"]


@pytest.mark.parametrize(
    ("n_tasks", "granularity"), [(2, "block"), (3, "attention"), (4, "sublayer")]
)
@pytest.mark.parametrize("kind", ["spearman", "damage", "pareto", "sufficiency"])
def test_texts_of_task_figures_do_not_overlap(kind: str, n_tasks: int, granularity: str) -> None:
    found = comparison_of(n_tasks, granularity)
    check_texts_are_apart(found.plot(kind=kind))  # type: ignore[arg-type]


def test_files_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    found = comparison_of(3)
    for suffix in (".png", ".svg"):
        for name in ("a", "b"):
            found.plot(tmp_path / f"{name}{suffix}", kind="pareto")
        first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("a", "b"))
        assert first == second and len(first) > 1000


def test_task_plots_refuse_wrong_options() -> None:
    found = comparison_of(2)
    with pytest.raises(pc.ArgumentError, match="kind is 'pie'"):
        found.plot(kind="pie")  # type: ignore[arg-type]
    with pytest.raises(pc.ArgumentError, match="n_removed is 7, but must be from 0 to 6"):
        found.plot(kind="damage", n_removed=7)
    with pytest.raises(pc.ArgumentError, match="n_removed is empty"):
        found.plot(kind="pareto", n_removed=[])
