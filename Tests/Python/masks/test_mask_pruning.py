# SPDX-License-Identifier: Apache-2.0
"""From scores to masks: what is removed, in which order; scores as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest

VALUES = [5.0, 1.0, 4.0, 0.5, 0.5, 3.0]  # attn.0 ffn.0 attn.1 ffn.1 attn.2 ffn.2


@pytest.fixture
def scores() -> pc.Scores:
    return pc.Scores({"mine": VALUES}, "sublayer", 3, provenance={"seed": 3})


def test_lowest_go_first_and_ties_go_to_the_lower_index(scores: pc.Scores) -> None:
    assert scores.order() == ["ffn.1", "attn.2", "ffn.0", "ffn.2", "attn.1", "attn.0"]
    for n in range(7):
        assert set(scores.prune(n).removed) == set(scores.order()[:n])
    assert scores.prune(1).removed == ["ffn.1"]


def test_pruning_only_one_kind_keeps_the_other(scores: pc.Scores) -> None:
    assert scores.order(only="attention") == ["attn.2", "attn.1", "attn.0"]
    assert scores.prune(2, only="attention").removed == ["attn.1", "attn.2"]
    assert scores.prune(2, "mine", only="feed-forward").removed == ["ffn.0", "ffn.1"]


def test_pruning_blocks_removes_both_sublayers() -> None:
    scores = pc.Scores({"a": [2.0, 1.0, 1.0]}, "block", 3)
    assert scores.unit_names == ("block.0", "block.1", "block.2")
    assert scores.prune(1).removed == ["attn.1", "ffn.1"]
    assert scores.prune(2).removed == ["attn.1", "ffn.1", "attn.2", "ffn.2"]
    for granularity, prefix in (("attention", "attn"), ("feed_forward", "ffn")):
        single = pc.Scores({"a": [2.0, 1.0, 1.0]}, granularity, 3)
        assert single.prune(1).removed == [f"{prefix}.1"]
        assert single.prune(1, only=granularity).removed == [f"{prefix}.1"]


def test_pruning_starts_from_a_mask(scores: pc.Scores) -> None:
    start = pc.Mask.remove("ffn.1", 3)
    assert scores.prune(1, mask=start).removed == ["ffn.1", "attn.2"]
    under = pc.Scores({"mine": VALUES}, "sublayer", 3, mask=start)
    assert under.order()[0] == "attn.2" and len(under.order()) == 5
    assert under.prune(1).removed == ["ffn.1", "attn.2"]
    assert under.prune(1, mask=pc.Mask.all(3)).removed == ["ffn.1"]
    blocks = pc.Scores({"a": [1.0, 2.0, 3.0]}, "block", 3, mask=pc.Mask.remove("ffn.0", 3))
    assert blocks.order() == ["block.1", "block.2"]
    assert blocks.prune(1).removed == ["ffn.0", "attn.1", "ffn.1"]


def test_mask_says_where_it_comes_from(scores: pc.Scores) -> None:
    assert scores.prune(2, only="attention").provenance == {
        "method": "one_shot",
        "metric": "mine",
        "granularity": "attention",
        "units_removed": 2,
        "scores": {"seed": 3},
    }


def test_impossible_wishes_are_refused(scores: pc.Scores) -> None:
    with pytest.raises(pc.ArgumentError, match="7 units"):
        scores.prune(7)
    with pytest.raises(pc.ArgumentError, match="-1 units"):
        scores.prune(-1)
    with pytest.raises(pc.ArgumentError):
        scores.prune(6, mask=pc.Mask.remove("attn.0", 3))
    with pytest.raises(pc.ArgumentError, match="'yours'.*mine"):
        scores.prune(1, "yours")
    with pytest.raises(pc.ArgumentError, match="attention or feed_forward"):
        scores.prune(1, only="both")
    with pytest.raises(pc.ArgumentError, match="each block"):
        pc.Scores({"a": [1.0]}, "block", 1).prune(1, only="attention")
    two = pc.Scores({"a": VALUES, "b": VALUES}, "sublayer", 3)
    with pytest.raises(pc.ArgumentError, match="choose one of the metrics: a, b"):
        two.prune(1)
    with pytest.raises(pc.ArgumentError, match="4 sublayers"):
        scores.prune(1, mask=[1, 1, 1, 1])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_no_numbers_are_refused(value: float) -> None:
    scores = pc.Scores({"a": [1.0, value, 2.0, 3.0]}, "sublayer", 2)
    with pytest.raises(pc.NonFiniteError):
        scores.prune(1)


def test_scores_check_their_shape() -> None:
    with pytest.raises(pc.ArgumentError, match=r"\(3,\).*4 units"):
        pc.Scores({"a": [1, 2, 3]}, "sublayer", 2)
    with pytest.raises(pc.ArgumentError, match="granularity is 'head'"):
        pc.Scores({"a": [1, 2]}, "head", 2)
    with pytest.raises(pc.ArgumentError, match="no metric"):
        pc.Scores({}, "block", 2)


def test_scores_are_read_only(scores: pc.Scores) -> None:
    with pytest.raises(ValueError, match="read-only"):
        scores["mine"][0] = 1
    scores.values["other"] = scores["mine"]
    assert scores.metrics == ("mine",)


def test_scores_come_back_from_json(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mask = pc.Mask.remove(["ffn.2"], 5)
    values = {"cosine": rng.random(10), "l1": rng.random(10) * 1e-9}
    scores = pc.Scores(values, "sublayer", 5, mask, {"data_sha256": "ab"})
    scores.save(tmp_path / "scores.json")
    again = pc.Scores.load(tmp_path / "scores.json")
    assert again.to_dict() == scores.to_dict()
    assert again.mask == mask and again.provenance == {"data_sha256": "ab"}
    assert all(np.array_equal(again[name], scores[name]) for name in values)
    record = json.loads((tmp_path / "scores.json").read_text())
    assert record["format"] == "prunecore.scores" and record["units"][5] == "ffn.2"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"n_blocks": "3"},
        {"n_blocks": 4},
        {"granularity": "head"},
        {"metrics": {}},
        {"metrics": {"a": [1, 2]}},
        {"metrics": {"a": ["x"] * 6}},
        {"metrics": 3},
        {"metrics": None},
        {"removed": ["attn.9"]},
        {"removed": 4},
    ],
)
def test_damaged_scores_are_refused(
    scores: pc.Scores, tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({**scores.to_dict(), **change}))
    with pytest.raises(pc.FormatError, match=r"scores\.json"):
        pc.Scores.load(path)


def test_scores_of_another_version_are_refused(scores: pc.Scores, tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({**scores.to_dict(), "version": 2}))
    with pytest.raises(pc.UnsupportedError, match=r"scores\.json.*version 2"):
        pc.Scores.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_files_that_hold_no_scores_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(pc.FormatError, match=r"scores\.json"):
        pc.Scores.load(path)
    with pytest.raises(pc.FileError, match=r"gone\.json"):
        pc.Scores.load(tmp_path / "gone.json")
