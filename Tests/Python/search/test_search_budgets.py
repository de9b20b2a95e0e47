# SPDX-License-Identifier: Apache-2.0
"""Budgets of searches: every bound is met, and what cannot be met or is wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest


@pytest.fixture(scope="module")
def data(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "maths.jsonl", model, 24, limit=2)


TIMES = pc.TokenTimes([1.0, 2.0] * 12 + [3.0], [0.5, 0.25] * 12 + [1.0])


@pytest.mark.parametrize("strategy", ["tail", "one_shot", "random"])
def test_bounds_on_costs_are_met_by_as_little_as_it_takes(
    model: pc.Model, data: pc.Data, strategy: str
) -> None:
    whole = model.cost(pc.Mask.all(12))
    for budget, cost, most in (
        (
            {"parameter_bytes": int(0.8 * whole.parameter_bytes)},
            lambda mask: model.cost(mask).parameter_bytes,
            int(0.8 * whole.parameter_bytes),
        ),
        (
            {"remove_parameters": 0.15},
            lambda mask: model.cost(mask).parameters,
            0.85 * whole.parameters,
        ),
        (
            {"kv_bytes": whole.kv_bytes // 2},
            lambda mask: model.cost(mask).kv_bytes,
            whole.kv_bytes // 2,
        ),
        ({"decode_ms": 8.5, "times": TIMES}, TIMES.decode, 8.5),
        ({"prefill_ms": 30.0, "times": TIMES}, TIMES.prefill, 30.0),
    ):
        options: dict[str, Any] = {**budget, "granularity": "sublayer"}
        found = model.search(data, strategy, **options)
        assert found.state.met
        assert cost(found.mask) <= most
        # What went last was needed.
        before = [step for step in found.path if step.n_removed < found.state.removed][-1]
        assert cost(before.mask) > most


def test_search_keeps_both_bounds_of_a_budget(model: pc.Model, data: pc.Data) -> None:
    whole = model.cost(pc.Mask.all(12))
    found = model.search(
        data, "evolutionary", kv_bytes=whole.kv_bytes * 3 // 4, remove_parameters=0.2,
        generations=3, offspring=8,
    )  # fmt: skip
    left = model.cost(found.mask)
    assert left.kv_bytes <= whole.kv_bytes * 3 // 4
    assert left.parameters <= 0.8 * whole.parameters
    kinds = model.search(data, remove_attention=3, remove_feed_forward=1)
    assert sorted(name.split(".")[0] for name in kinds.removed) == ["attn"] * 3 + ["ffn"]
    one = model.search(data, "tail", remove_attention=2)
    assert one.removed == ["attn.10", "attn.11"]


def test_damage_bounds_how_much_goes(model: pc.Model, data: pc.Data) -> None:
    counts = []
    for share in (0.005, 0.03):
        found = model.search(data, max_loss_increase=share)
        start = found.state.start_damage
        assert start == pytest.approx(model.evaluate(data).loss, abs=1e-6)
        assert found.damage <= start * (1 + share)
        counts.append(found.state.removed)
    assert counts == sorted(counts) and counts[0] < counts[-1]
    most = 1.1 * model.evaluate(data).loss
    found = model.search(data, granularity="block", max_damage=most)
    assert found.damage <= most and found.state.removed > 0
    # Nothing else that is left could go as well.
    rows = []
    for block in range(12):
        keep = found.mask.keep.copy()
        if keep[2 * block]:
            keep[2 * block : 2 * block + 2] = 0
            rows.append(keep)
    assert model.damages(data, np.array(rows)).values.min() > most
    none = model.search(data, max_damage=1e-3 + 0.5 * found.state.start_damage, remove=2)
    assert not none.state.met and none.removed == []


def test_protected_and_missing_sublayers(model: pc.Model, data: pc.Data) -> None:
    free = model.search(data, remove=3).removed
    kept = [free[0], "block.11", 9]
    found = model.search(data, remove=3, protect=kept)
    assert not {free[0], "attn.11", "ffn.11", "ffn.4"} & set(found.removed)
    assert found.provenance["protected"] == sorted(
        {free[0], "attn.11", "ffn.11", "ffn.4"},
        key=lambda name: (int(name.split(".")[1]), name[0] == "f"),
    )
    one = model.search(data, "tail", remove=1, protect="block.11")
    assert one.removed == ["ffn.10"]
    start = pc.Mask.remove("block.3", 12)
    more = model.search(data, remove=2, start=start)
    assert {"attn.3", "ffn.3"} < set(more.removed) and len(more.removed) == 4
    assert more.path[0].mask == start and more.path[0].n_removed == 0
    assert more.state.start_damage == pytest.approx(model.evaluate(data, start).loss, abs=1e-6)
    assert more.provenance["start_removed"] == ["attn.3", "ffn.3"]


def test_search_keeps_budgets_at_every_granularity(model: pc.Model, data: pc.Data) -> None:
    for granularity, names in (
        ("block", {"attn", "ffn"}),
        ("attention", {"attn"}),
        ("feed_forward", {"ffn"}),
    ):
        found = model.search(data, granularity=granularity, remove=2)
        assert {name.split(".")[0] for name in found.removed} == names
        assert found.mask.provenance["granularity"] == granularity


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no budget|give remove"),
        ({"remove": 0}, "remove is 0"),
        ({"remove": 25}, "25|cannot be met"),
        ({"remove": 24, "protect": "attn.0"}, "23|cannot"),
        ({"remove": "all"}, "whole number"),
        ({"remove": 2, "remove_attention": 1}, "remove"),
        ({"remove_attention": 0}, "remove nothing"),
        ({"remove_attention": -1}, "remove_attention is -1"),
        ({"remove_attention": 13}, "13|12|cannot"),
        ({"remove_attention": 1, "granularity": "block"}, "sublayers"),
        ({"remove_parameters": 1.0}, "remove_parameters is 1"),
        ({"remove_parameters": 0}, "remove_parameters is 0"),
        ({"remove_parameters": 0.99}, "cannot be met"),
        ({"parameter_bytes": 1}, "cannot be met"),
        ({"parameter_bytes": -1}, "parameter_bytes is -1"),
        ({"kv_bytes": 0}, "kv_bytes is 0"),
        ({"kv_bytes": 1, "protect": "attn.0"}, "cannot be met"),
        ({"decode_ms": 0.5, "times": TIMES}, "cannot be met"),
        ({"decode_ms": -1, "times": TIMES}, "decode_ms is -1"),
        ({"max_loss_increase": 0}, "max_loss_increase is 0"),
        ({"max_loss_increase": float("nan")}, "max_loss_increase is nan"),
        ({"max_damage": "little"}, "must be a number"),
        ({"remove": 1, "strategy": "best"}, "strategy is 'best'"),
        ({"remove": 1, "granularity": "heads"}, "granularity is 'heads'"),
        ({"remove": 1, "measure": "accuracy"}, "measure is 'accuracy'"),
        ({"remove": 1, "seed": -1}, "seed is -1"),
        ({"remove": 1, "protect": "head.0"}, "unknown sublayer 'head.0'"),
        ({"remove": 1, "protect": ["attn.12"]}, "beyond the last block"),
        ({"remove": 1, "protect": [24]}, "sublayer is 24"),
        ({"remove": 1, "start": np.ones(22)}, "22 sublayers"),
        ({"remove": 1, "offspring": 4}, "offspring"),
        ({"remove": 1, "generations": 4}, "generations"),
        ({"remove": 1, "patience": 4}, "patience"),
        ({"remove": 1, "candidates": 3, "strategy": "tail"}, "candidates"),
        ({"remove": 1, "exchanges": 3, "strategy": "tail"}, "exchanges"),
        ({"remove": 1, "exchanges": -1}, "exchanges is -1"),
        ({"remove": 1, "candidates": 0}, "candidates is 0"),
        ({"remove": 1, "metric": "cosine"}, "metric is cosine, but greedy searches use no scores"),
        ({"remove": 1, "metric": "beauty", "strategy": "one_shot"}, "unknown metric"),
        ({"remove": 1, "scores": np.ones(24)}, "scores"),
        ({"remove": 1, "scores": np.ones(23), "strategy": "one_shot"}, "23"),
        ({"remove": 1, "scores": "low", "strategy": "one_shot"}, "array of numbers"),
        ({"remove": 1, "strategy": "window", "scores": np.ones((12, 12))}, "blocks"),
        ({"strategy": "evolutionary", "max_loss_increase": 0.1}, "evolutionary"),
        ({"remove": 1, "batch_masks": 0}, "batch_masks is 0"),
        ({"remove": 1, "cap": "default"}, "cap"),
    ],
)
def test_wrong_options_of_a_search_are_named(
    model: pc.Model, data: pc.Data, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(pc.ArgumentError, match=words):
        model.search(data, **options)


def test_wrong_scores_of_a_search_are_named(model: pc.Model, data: pc.Data) -> None:
    bad = np.ones(24)
    bad[5] = np.nan
    with pytest.raises(pc.NonFiniteError, match=r"ffn\.2"):
        pc.Search(model, "one_shot", remove=1, scores=bad)
    scores = model.score(data, ["cosine", "l2"], "block")
    with pytest.raises(pc.ArgumentError, match="cosine, l2"):
        model.search(data, "one_shot", "block", remove=1, scores=scores)
    with pytest.raises(pc.ArgumentError, match="of each block"):
        model.search(data, "one_shot", remove=1, scores=scores, metric="l2")
    foreign = pc.Scores({"mine": np.ones(4)}, "block", 4)
    with pytest.raises(pc.ArgumentError, match="4 blocks"):
        model.search(data, "one_shot", "block", remove=1, scores=foreign)


def test_search_keeps_bounds_on_token_times(model: pc.Model) -> None:
    found = model.token_times(repetitions=1, prompt_tokens=32, context=16)
    assert found.n_blocks == 12
    assert found.prefill() == pytest.approx(found.prefill_ms.sum())
    without = pc.Mask.remove("attn.3", 12)
    gone = found.decode() - found.decode(without)
    assert gone == pytest.approx(found.decode_ms[6]) and gone > 0
    assert found.prefill() > 0 and found.decode() > 0
    again = pc.TokenTimes.from_dict(found.to_dict())
    assert np.array_equal(again.table(), found.table()) and found.table().shape == (25, 2)
    stages = []

    def stop(stage: str, *_: Any) -> bool:
        stages.append(stage)
        return True

    with pytest.raises(pc.Cancelled):
        model.token_times(progress=stop)
    assert len(stages) == 1
    for options in ({"repetitions": 0}, {"prompt_tokens": 0}, {"context": -1}):
        with pytest.raises(pc.ArgumentError, match="is (0|-1)"):
            model.token_times(**options)


@pytest.mark.parametrize(
    ("prefill", "decode", "words"),
    [
        ([1.0] * 4, [1.0] * 4, "shape is"),
        ([[1.0] * 3], [1.0] * 3, "shape is"),
        ([1.0] * 3, [1.0] * 5, "3 places of a prompt, but of 5"),
        ([1.0, -1.0, 1.0], [1.0] * 3, "negative"),
        ([1.0, float("nan"), 1.0], [1.0] * 3, "no number"),
        (["a"] * 3, [1.0] * 3, "not a list of numbers"),
    ],
)
def test_wrong_token_times_are_named(prefill: Any, decode: Any, words: str) -> None:
    with pytest.raises(pc.ArgumentError, match=words):
        pc.TokenTimes(prefill, decode)
    with pytest.raises(pc.FormatError):
        pc.TokenTimes.from_dict({"prefill_ms": prefill, "decode_ms": decode})


def test_search_refuses_times_of_another_depth(model: pc.Model, data: pc.Data) -> None:
    times = pc.TokenTimes([1.0] * 9, [1.0] * 9)
    with pytest.raises(pc.ArgumentError, match="4 blocks, but the model has 12"):
        model.search(data, decode_ms=1.0, times=times)
    with pytest.raises(pc.ArgumentError, match="times"):
        pc.Search(model, decode_ms=1.0)
