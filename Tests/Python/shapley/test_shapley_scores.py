# SPDX-License-Identifier: Apache-2.0
"""Shapley scores as a value: JSON, pruning, curves, pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from matplotlib.figure import Figure
from prunecore.shapley.players import Players, granularity_players, grouped_players
from prunecore.shapley.scores import read_scores

STATE = pc.GameState(True, 24, 300, 300, 0, 1e-12, 0.02, 900, 3600, "surrogate")
GROUPS = grouped_players({"early": ["block.0", "block.1"], "late": [20, 23], "one": "attn.5"}, 12)


def made(players: Players | None = None, **changes: Any) -> pc.ShapleyScores:
    chosen = players or granularity_players("sublayer", 12)
    rng = np.random.default_rng(len(chosen))
    state = {**vars(STATE), "n_players": len(chosen), **changes}
    count = len(chosen)
    strata = rng.normal(size=(count, count - 1))
    strata[0, 0] = np.nan
    errors = rng.random(count)
    errors[-1] = np.inf
    return pc.ShapleyScores(
        rng.normal(size=count),
        errors,
        chosen,
        12,
        pc.GameState(**state),
        interactions=rng.normal(size=(count, count)) if state["estimator"] == "exact" else None,
        strata=strata,
        provenance={"measure": "loss", "data_sha256": "abc", "options": {"seed": 1}},
    )


def test_scores_are_read_only_values() -> None:
    scores = made()
    assert scores.values.shape == scores.standard_errors.shape == (24,)
    assert scores.unit_names[:3] == ("attn.0", "ffn.0", "attn.1")
    assert scores.units[3] == ("ffn.1",)
    with pytest.raises(ValueError, match="read-only"):
        scores.values[0] = 1
    scores.provenance["measure"] = "other"
    assert scores.provenance["measure"] == "loss"
    assert "surrogate" in repr(scores) and "24 units" in repr(scores)
    with pytest.raises(pc.UnsupportedError, match="exact or pair_differences"):
        scores.interactions()
    assert scores.strata().shape == (24, 23)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        ("surrogate", "shapley"),
        ("exact", "shapley"),
        ("banzhaf", "banzhaf"),
        ("leave_one_out", "leave_one_out"),
        ("pair_differences", "leave_one_out"),
        ("random_subnetworks", "random_subnetworks"),
    ],
)
def test_name_says_what_was_estimated(estimator: str, name: str) -> None:
    scores = made(estimator=estimator)
    assert scores.metrics == (name,)
    for asked in (None, "shapley", name, name.replace("_", "-")):
        assert scores.chosen_metric(asked) == name
    assert np.array_equal(scores[name], scores.values)
    with pytest.raises(pc.ArgumentError, match=f"only {name}"):
        scores.chosen_metric("cosine")


@pytest.mark.parametrize("players", [None, GROUPS, granularity_players("attention", 12)])
@pytest.mark.parametrize("estimator", ["surrogate", "exact"])
def test_json_of_shapley_scores_holds_everything(
    tmp_path: Path, players: Players | None, estimator: str
) -> None:
    scores = made(players, estimator=estimator, efficiency_gap=math.nan)
    file = tmp_path / "scores.json"
    scores.save(file)
    record = json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert record == scores.to_dict()
    for again in (pc.ShapleyScores.load(file), read_scores(file)):
        assert isinstance(again, pc.ShapleyScores)
        assert np.array_equal(again.values, scores.values)
        assert np.array_equal(again.standard_errors, scores.standard_errors)
        assert np.array_equal(again.strata(), scores.strata(), equal_nan=True)
        assert again.units == scores.units and again.unit_names == scores.unit_names
        assert (again.granularity, again.n_blocks) == (scores.granularity, 12)
        assert again.provenance == scores.provenance
        assert again.state.to_dict() == scores.state.to_dict()
        assert math.isnan(again.state.efficiency_gap)
        assert again.has_interactions == (estimator == "exact")
        if again.has_interactions:
            assert np.array_equal(again.interactions(), scores.interactions())


def test_files_of_scores_are_scores_of_the_metric_shapley(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    scores = made()
    scores.save(file)
    plain = pc.Scores.load(file)
    assert plain.metrics == ("shapley",) and np.array_equal(plain["shapley"], scores.values)
    assert plain.provenance == scores.provenance
    plain.save(file)
    assert isinstance(read_scores(file), pc.Scores)
    with pytest.raises(pc.FormatError, match=r"scores\.json.*without Shapley values"):
        pc.ShapleyScores.load(file)


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r.update(format="prunecore.mask"),
        lambda r: r.update(version=2),
        lambda r: r.update(n_blocks=True),
        lambda r: r.update(n_blocks=0),
        lambda r: r.update(n_blocks=11),
        lambda r: r.update(granularity="head"),
        lambda r: r.update(granularity="players", units=["a"]),
        lambda r: r.update(metrics={}),
        lambda r: r.update(metrics=[1]),
        lambda r: r["metrics"].update(shapley=[1.0]),
        lambda r: r["metrics"].update(shapley=[None] * 24),
        lambda r: r["metrics"].update(other=[1.0] * 24),
        lambda r: r.update(shapley=[]),
        lambda r: r["shapley"].pop("state"),
        lambda r: r["shapley"]["state"].pop("told"),
        lambda r: r["shapley"]["state"].update(told="many"),
        lambda r: r["shapley"]["state"].update(colour="red"),
        lambda r: r["shapley"].update(state=3),
        lambda r: r["shapley"].pop("standard_errors"),
        lambda r: r["shapley"].update(standard_errors="large"),
        lambda r: r["shapley"].update(strata=[[1.0]]),
        lambda r: r["shapley"].update(interactions=[1.0]),
        lambda r: r.update(provenance=[1, 2]),
    ],
)
def test_damaged_files_of_shapley_scores_are_refused(tmp_path: Path, damage: Any) -> None:
    record = made().to_dict()
    damage(record)
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(record))
    with pytest.raises((pc.FormatError, pc.UnsupportedError), match=r"scores\.json"):
        pc.ShapleyScores.load(file)


def test_files_that_are_not_shapley_scores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(pc.FileError, match="gone"):
        pc.ShapleyScores.load(tmp_path / "gone.json")
    for content in (b"", b"{", b"\xff\xfe", b"[]", b"3", b"[" * 100_000):
        (tmp_path / "odd.json").write_bytes(content)
        for read in (pc.ShapleyScores.load, read_scores, pc.Scores.load):
            with pytest.raises(pc.FormatError, match="odd"):
                read(tmp_path / "odd.json")


def test_pruning_by_shapley_scores_is_that_of_scores() -> None:
    scores = made()
    plain = pc.Scores({"shapley": scores.values}, "sublayer", 12)
    start = pc.Mask.remove(["attn.2", "ffn.9"], 12)
    for only in (None, "attention", "feed_forward"):
        assert scores.order(only=only) == plain.order(only=only)
        assert scores.removed_granularity(only) == plain.removed_granularity(only)
        for n in (0, 1, 5):
            assert scores.prune(n, only=only) == plain.prune(n, only=only)
            assert scores.prune(n, only=only, mask=start) == plain.prune(n, only=only, mask=start)
    found = scores.prune(3, "shapley", only="attention").provenance
    assert found["method"] == "one_shot" and found["metric"] == "shapley"
    assert found["granularity"] == "attention" and found["units_removed"] == 3
    assert found["scores"] == scores.provenance
    with pytest.raises(pc.ArgumentError, match="25"):
        scores.prune(25)
    with pytest.raises(pc.ArgumentError, match="attention"):
        made(granularity_players("block", 12)).prune(1, only="attention")


def test_shapley_scores_of_groups_prune_them_whole() -> None:
    scores = made(GROUPS)
    assert scores.granularity == "players" and scores.removed_granularity() == "players"
    order = scores.order()
    assert [scores.values[scores.unit_names.index(name)] for name in order] == sorted(scores.values)
    lacking: set[str] = set()
    for n in range(4):
        mask = scores.prune(n)
        assert set(mask.removed) == lacking
        assert mask.provenance["granularity"] == "players"
        if n < 3:
            lacking |= set(scores.units[scores.unit_names.index(order[n])])
    with pytest.raises(pc.ArgumentError, match="4 units"):
        scores.prune(4)
    with pytest.raises(pc.ArgumentError, match="attention alone"):
        scores.prune(1, only="attention")
    with pytest.raises(pc.ArgumentError, match="groups"):
        scores.as_scores()


def test_curves_take_shapley_scores(tales: pc.Model, tales_dir: Path) -> None:
    data = pc.Data.from_text(tales_dir / "plays.jsonl", tales, 32, limit=1)
    scores = made()
    curve = tales.curve(data, scores, max_removed=4, only="feed_forward")
    plain = tales.curve(data, scores.as_scores(), "shapley", 4, only="feed_forward")
    assert curve.metric == "shapley" and curve.granularity == "feed_forward"
    assert np.array_equal(curve.losses, plain.losses)
    grouped = tales.curve(data, made(GROUPS))
    assert grouped.granularity == "players" and grouped.n_removed == (0, 1, 2, 3)
    assert isinstance(grouped.plot(), Figure)
    with pytest.raises(pc.ArgumentError, match="4 blocks"):
        small = granularity_players("block", 4)
        values = np.zeros(4)
        tales.curve(data, pc.ShapleyScores(values, values, small, 4, STATE))


def test_wrong_shapes_and_values_are_refused() -> None:
    players = granularity_players("block", 4)
    for values, errors, words in (
        (np.zeros(3), np.zeros(4), "values"),
        (np.zeros(4), np.zeros(5), "standard_errors"),
        (np.array([0, 1, np.nan, 2]), np.zeros(4), "NaN"),
    ):
        with pytest.raises(pc.ArgumentError, match=words):
            pc.ShapleyScores(values, errors, players, 4, STATE)


def words_of(figure: Figure) -> str:
    from matplotlib.text import Text

    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_picture_shows_values_and_their_margins(tmp_path: Path) -> None:
    scores = made()
    figure = scores.plot(tmp_path / "values.png")
    assert (tmp_path / "values.png").read_bytes().startswith(b"\x89PNG")
    shown = words_of(figure)
    for word in ("Shapley value", "nats per token", "attention", "feed-forward", "block", "95 %"):
        assert word in shown
    (panel,) = figure.axes
    attention, feed_forward = panel.containers
    np.testing.assert_array_equal(attention.lines[0].get_ydata(), scores.values[0::2])
    np.testing.assert_array_equal(feed_forward.lines[0].get_ydata(), scores.values[1::2])
    segments = attention.lines[2][0].get_segments()
    for place, segment in enumerate(segments):
        low, high = segment[:, 1]
        unit = 2 * place
        margin = 1.96 * scores.standard_errors[unit]
        assert (low, high) == pytest.approx(
            (scores.values[unit] - margin, scores.values[unit] + margin)
        )
    # A margin that is not known is not a bar, but a hollow marker.
    assert np.ptp(feed_forward.lines[2][0].get_segments()[-1][:, 1]) == 0
    white = [line for line in panel.lines if line.get_markerfacecolor() == "white"]
    (hollow,) = [line for line in white if len(line.get_ydata())]
    assert hollow.get_ydata().tolist() == [scores.values[-1]] and "hollow" in shown


def test_picture_beside_other_scores() -> None:
    scores = made()
    rng = np.random.default_rng(0)
    others = pc.Scores({"cosine": rng.random(24), "l2": rng.random(24)}, "sublayer", 12)
    figure = scores.plot(beside=others, metrics=["cosine"])
    assert len(figure.axes) == 2
    assert "cosine" in words_of(figure) and "L2" not in words_of(figure)
    assert len(scores.plot(beside=others).axes) == 3
    with pytest.raises(pc.ArgumentError, match="block"):
        scores.plot(beside=pc.Scores({"cosine": range(12)}, "block", 12))
    with pytest.raises(pc.ArgumentError, match="magnitude"):
        scores.plot(beside=others, metrics=["magnitude"])


def test_picture_of_groups_names_them() -> None:
    shown = words_of(made(GROUPS).plot())
    assert all(name in shown for name in GROUPS.names)


def test_one_large_value_does_not_press_the_others_flat() -> None:
    players = granularity_players("block", 12)
    values = np.full(12, 0.1)
    values[0] = 4
    scores = pc.ShapleyScores(values, np.zeros(12), players, 12, STATE)
    assert scores.plot().axes[0].get_yscale() == "symlog"
    assert "95 %" not in words_of(scores.plot())
    values[0] = 0.2
    assert pc.ShapleyScores(values, values, players, 12, STATE).plot().axes[0].get_yscale() == (
        "linear"
    )
