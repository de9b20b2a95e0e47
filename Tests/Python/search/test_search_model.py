# SPDX-License-Identifier: Apache-2.0
"""Searches on models: their numbers, where masks say they come from, checkpoints, pictures."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from checkpoints import Stop, fill_the_disk, run_in_parts
from figures import check_picture

BLOCKS = 12


@pytest.fixture(scope="module")
def data(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "maths.jsonl", model, 24, limit=2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "search.checkpoint"


def block_masks(count: int) -> np.ndarray:
    """Every mask that lacks so many blocks."""
    rows = []
    for subset in itertools.combinations(range(BLOCKS), count):
        keep = np.ones((BLOCKS, 2), np.uint8)
        keep[list(subset)] = 0
        rows.append(keep.reshape(-1))
    return np.array(rows)


@pytest.fixture(scope="module")
def text(model: pc.Model, tales_dir: Path) -> pc.Data:
    """One of the sequences that benchmarks/search/search.py takes eight of."""
    return pc.Data.from_text(tales_dir / "plays.jsonl", model, 128, limit=1)


@pytest.mark.parametrize("count", [2, 4, 6])
def test_greedy_and_evolutionary_reach_the_optimum_over_blocks(
    model: pc.Model, text: pc.Data, count: int
) -> None:
    """Of 1 to 6 blocks, on all texts: benchmarks/search/search.py."""
    masks = block_masks(count)
    values = model.damages(text, masks).values
    for strategy in ("greedy", "evolutionary"):
        found = model.search(text, strategy, "block", remove=count)
        assert found.damage == pytest.approx(values.min(), abs=1e-6), strategy
        assert np.array_equal(found.mask.keep, masks[int(values.argmin())])


def test_greedy_over_sublayers_shares_its_work(model: pc.Model, data: pc.Data) -> None:
    for count in (2, 6):
        state = model.search(data, remove=count).state
        assert 0 < state.sublayers_computed <= 0.6 * state.sublayers_naive
        # The plain algorithm: everything, then each step all that are left without one more.
        plain = 24 + sum((24 - gone) * (23 - gone) for gone in range(count))
        alone = model.search(data, remove=count, exchanges=0).state
        assert alone.sublayers_naive == plain
        assert alone.sublayers_computed <= 0.6 * plain


def test_searches_beat_one_shot_orders(model: pc.Model, tales_dir: Path) -> None:
    """Over sublayers; benchmarks/search/search.py does the same on longer texts."""
    ends: dict[str, list[float]] = {}
    for name in ("stories", "maths", "plays"):
        own = pc.Data.from_text(tales_dir / f"{name}.jsonl", model, 48, limit=1)
        scores = model.score(own, ["cosine", "relative_l2", "leave_one_out_loss"])
        for metric in scores.metrics:
            found = model.search(own, "one_shot", remove=6, scores=scores, metric=metric)
            ends.setdefault(metric, []).append(found.damage)
        for strategy, options in (("greedy", {}), ("evolutionary", {"generations": 12})):
            found = model.search(own, strategy, remove=6, **options)
            ends.setdefault(strategy, []).append(found.damage)
    means = {name: np.mean(values) for name, values in ends.items()}
    orders = min(means[m] for m in ("cosine", "relative_l2", "leave_one_out_loss"))
    assert means["greedy"] < orders and means["evolutionary"] < orders


def test_damages_are_losses_of_the_masks(model: pc.Model, data: pc.Data) -> None:
    found = model.search(data, remove=3)
    for step in found.path:
        assert step.damage == pytest.approx(model.evaluate(data, step.mask).loss, abs=1e-6)
    assert found.damage == found.path[-1].damage and found.removed == found.mask.removed
    assert found.state.done and found.state.met and "greedy" in repr(found)
    divergence = model.search(data, remove=2, measure="kl", reference=pc.Mask.remove("ffn.3", 12))
    values = model.damages(
        data, [divergence.mask], "kl", reference=pc.Mask.remove("ffn.3", 12)
    ).values
    assert divergence.damage == pytest.approx(values[0], abs=1e-7)
    assert divergence.provenance["measure"] == "kl"
    assert divergence.provenance["reference_removed"] == ["ffn.3"]
    capped = model.search(data, "tail", remove=20, cap=3.0)
    assert capped.damage == 3.0 and capped.provenance["cap"] == 3.0


def test_search_by_hand_finds_the_same(model: pc.Model, data: pc.Data) -> None:
    whole = model.search(data, granularity="block", remove=3)
    with pc.Search(model, "greedy", "block", remove=3) as search:
        while not search.done:
            masks = search.ask(1000)
            search.tell(masks, model.damages(data, masks.astype(np.uint8)).values)
        assert search.mask == whole.mask and search.path == whole.path
    with pc.Search(model, "greedy", "block", remove=3) as search:
        found = model.search(data, search=search)
        assert found.mask == whole.mask and not search.closed and search.done
        assert found.provenance["strategy"] == "greedy" and "budget" not in found.provenance
        with pytest.raises(pc.ArgumentError, match="not both|own"):
            model.search(data, search=search, remove=1)


@pytest.mark.parametrize("metric", ["cosine", "l1", "leave_one_out_loss", None])
def test_one_shot_search_removes_by_the_metric(
    model: pc.Model, data: pc.Data, metric: str | None
) -> None:
    found = model.search(data, "one_shot", "attention", remove=4, metric=metric)
    scores = model.score(data, metric or "cosine", "attention")
    assert found.mask == scores.prune(4)
    assert found.mask.provenance["metric"] == (metric or "cosine")
    given = model.search(data, "one_shot", "attention", remove=4, scores=scores)
    assert given.mask == found.mask and given.provenance["scores"] == scores.provenance
    assert given.provenance["metric"] == (metric or "cosine")
    assert len(given.provenance["scores_sha256"]) == 64


def test_scores_of_games_and_of_windows(model: pc.Model, data: pc.Data) -> None:
    added = model.shapley(data, granularity="block", budget=40)
    shot = model.search(data, "one_shot", "block", remove=3, scores=added)
    assert shot.mask == added.prune(3) and shot.provenance["metric"] == "shapley"
    plain = model.search(data, "greedy", "block", remove=3, exchanges=0)
    assert plain.state.told == 1 + 12 + 11 + 10 and plain.provenance["exchanges"] == 0
    tried = model.search(data, "greedy", "block", remove=3, scores=added, candidates=4)
    assert tried.state.told < model.search(data, "greedy", "block", remove=3).state.told
    assert tried.provenance["candidates"] == 4
    windows = model.statistics(data, windows=True).windows()
    angular = model.search(data, "window", "block", remove=4)
    first = int(np.nanargmin(windows[3]))
    assert angular.mask == pc.Mask.remove([f"block.{first + i}" for i in range(4)], BLOCKS)
    assert angular.provenance["metric"] == "angular"
    scored = model.search(data, "window", "block", remove=4, scores=windows)
    assert scored.mask == angular.mask and scored.provenance["metric"] is None
    lossy = model.search(data, "window", "block", remove=4, metric="leave_one_out_loss")
    runs = [pc.Mask.remove([f"block.{i + j}" for j in range(4)], BLOCKS) for i in range(9)]
    values = model.damages(data, runs).values
    assert lossy.mask == runs[int(values.argmin())]


def test_masks_say_where_they_come_from(model: pc.Model, data: pc.Data, tmp_path: Path) -> None:
    found = model.search(
        data, "evolutionary", "block", remove=2, seed=5, generations=2, offspring=6,
        protect="block.0",
    )  # fmt: skip
    found.mask.save(tmp_path / "mask.json")
    mask = pc.Mask.load(tmp_path / "mask.json")
    told = mask.provenance
    assert mask == found.mask and told == found.provenance
    assert {
        name: told[name] for name in ("method", "strategy", "granularity", "seed", "metric")
    } == {
        "method": "search", "strategy": "evolutionary", "granularity": "block", "seed": 5,
        "metric": None,
    }  # fmt: skip
    assert told["data_sha256"] == data.digest and told["budget"] == {"remove": 2}
    assert told["protected"] == ["attn.0", "ffn.0"]
    assert told["generations"] == 2 and told["offspring"] == 6
    assert told["damage"] == found.damage and told["units_removed"] == 2 and told["met"]
    assert told["model"] == model.provenance
    other = model.search(data, "random", "block", remove=2, seed=6)
    assert other.provenance["seed"] == 6


def test_measured_times_are_part_of_the_result(model: pc.Model, data: pc.Data, file: Path) -> None:
    stages: set[str] = set()
    probe = model.token_times(repetitions=1)
    budget = 0.9 * probe.decode()
    options: dict[str, Any] = {"strategy": "tail", "decode_ms": 10 * budget}
    found = model.search(
        data, **options, checkpoint=file, batch_progress=lambda stage, *_: stages.add(stage)
    )
    assert stages == {"time"} or stages == {"time", "search"}
    times = pc.TokenTimes.from_dict(found.provenance["budget"]["times"])
    assert times.n_blocks == BLOCKS and found.removed == []
    # The same times again, not others.
    again = model.search(data, **options, checkpoint=file)
    assert again.provenance == found.provenance
    less = model.search(data, "tail", decode_ms=0.5 * times.decode(), times=times)
    assert times.decode(less.mask) <= 0.5 * times.decode()
    assert less.provenance["budget"]["times"] == times.to_dict()


def test_search_result_comes_back_from_json(model: pc.Model, data: pc.Data, tmp_path: Path) -> None:
    for strategy in ("greedy", "tail"):
        found = model.search(data, strategy, "block", remove=2)
        found.save(tmp_path / "found.json")
        again = pc.SearchResult.load(tmp_path / "found.json")
        assert again.to_dict() == found.to_dict() and again.mask == found.mask
        assert again.mask.provenance == found.mask.provenance
    record = found.to_dict()
    assert record["path"][0]["damage"] is None and math.isnan(again.path[0].damage)
    for wrong, kind in (
        ({}, pc.FormatError),
        ([], pc.FormatError),
        ({**record, "version": 2}, pc.UnsupportedError),
        ({**record, "removed": ["attn.12"]}, pc.FormatError),
        ({**record, "state": {}}, pc.FormatError),
        ({**record, "state": {**record["state"], "told": "many"}}, pc.FormatError),
        ({**record, "path": [{}]}, pc.FormatError),
        ({**record, "path": 3}, pc.FormatError),
    ):
        with pytest.raises(kind):
            pc.SearchResult.from_dict(wrong)
        (tmp_path / "wrong.json").write_text(json.dumps(wrong))
        with pytest.raises(kind, match=r"wrong\.json"):
            pc.SearchResult.load(tmp_path / "wrong.json")


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "greedy", "remove": 3},
        {"strategy": "evolutionary", "granularity": "block", "remove": 3, "generations": 3},
        {"strategy": "greedy", "max_loss_increase": 0.02, "candidates": 5},
        {"strategy": "window", "remove": 3},
    ],
)
def test_stopped_runs_end_with_the_same_result(
    model: pc.Model, data: pc.Data, file: Path, options: dict[str, Any]
) -> None:
    options = {**options, "batch_masks": 10, "seed": 2}
    whole = model.search(data, **options)

    def check(found: pc.SearchProgress) -> None:
        assert found.mask.n_blocks == BLOCKS and found.seconds >= 0

    call = partial(model.search, data, **options)
    found = run_in_parts(call, file, pc.Search, each=check)
    assert found.to_dict() == whole.to_dict()
    content = file.read_bytes()
    # A run that is over is read, not run again.
    again = model.search(data, **options, checkpoint=file, progress=lambda _: pytest.fail("told"))
    assert again.to_dict() == whole.to_dict() and file.read_bytes() == content


def test_checkpoint_of_a_search_is_of_its_model_data_and_options(
    model: pc.Model, data: pc.Data, file: Path
) -> None:
    options: dict[str, Any] = {"granularity": "block", "remove": 1, "checkpoint": file}
    model.search(data, **options)
    content = file.read_bytes()
    other = pc.Data([row[:-1] for row in data.sequences])
    changes: list[tuple[str, pc.Data, dict[str, Any]]] = [
        ("data_sha256", other, {}),
        ("budget", data, {"remove": 2}),
        ("budget", data, {"max_damage": 9.0}),
        ("seed", data, {"seed": 1}),
        ("strategy", data, {"strategy": "tail"}),
        ("granularity", data, {"granularity": "attention"}),
        ("measure", data, {"measure": "kl"}),
        ("cap", data, {"cap": 3.0}),
        ("protected", data, {"protect": "attn.0"}),
        ("start_removed", data, {"start": pc.Mask.remove("attn.1", BLOCKS)}),
        ("reference_removed", data, {"reference": pc.Mask.remove("attn.1", BLOCKS)}),
        ("candidates", data, {"candidates": 3}),
        ("metric", data, {"candidates": 3, "metric": "l2"}),
        ("batch_masks", data, {"batch_masks": 3}),
        ("batch_tokens", data, {"batch_tokens": 24}),
    ]
    for word, own, change in changes:
        with pytest.raises(pc.ArgumentError, match=f"another run: .*{word}"):
            model.search(own, **{**options, **change})
    assert file.read_bytes() == content
    damaged = bytearray(content)
    damaged[-30] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(pc.FormatError, match=r"search\.checkpoint"):
        model.search(data, **options)
    # A game's checkpoint is none of a search.
    file.unlink()
    model.shapley(data, granularity="block", budget=14, checkpoint=file)
    with pytest.raises(pc.ArgumentError, match="another run"):
        model.search(data, **options)
    with pytest.raises(pc.FileError, match=re.escape(file.name)):
        model.search(data, remove=1, checkpoint=file / "inside a file")


def test_failing_writes_stop_the_search(
    model: pc.Model, data: pc.Data, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch)
    with pytest.raises(pc.FileError, match="the disk is full"):
        model.search(data, granularity="block", remove=2, checkpoint=file)


def test_callbacks_of_a_search_stop_it(model: pc.Model, data: pc.Data) -> None:
    def fail(*_: Any) -> None:
        raise Stop

    stops: list[tuple[str, Callable[..., object], type[BaseException]]] = [
        ("progress", fail, Stop),
        ("batch_progress", fail, Stop),
        ("progress", lambda _: True, pc.Cancelled),
        ("batch_progress", lambda *_: True, pc.Cancelled),
    ]
    for name, stop, kind in stops:
        with pc.Search(model, remove=2) as search:
            with pytest.raises(kind):
                model.search(data, search=search, **{name: stop})  # type: ignore[arg-type]
            assert search.state.told == (0 if name == "batch_progress" else 25)
            whole = model.search(data, remove=2)
            assert model.search(data, search=search).mask == whole.mask


def test_search_result_draws_its_path(model: pc.Model, data: pc.Data, tmp_path: Path) -> None:
    found = model.search(data, remove=3)
    figure = found.plot(tmp_path / "path.png")
    left, right = figure.axes
    assert list(left.lines[0].get_ydata()) == [step.damage for step in found.path]
    assert list(left.lines[0].get_xdata())[:4] == [0, 1, 2, 3]
    start = model.shape.parameters
    kept = [100 * step.parameters / start for step in found.path]
    np.testing.assert_allclose(np.asarray(right.lines[0].get_ydata()), kept)
    assert len(right.lines) == 2 and "sublayers" in left.get_xlabel()
    check_picture(tmp_path / "path.png")
    drawn = model.search(data, "evolutionary", "block", remove=3, generations=4)
    axes = drawn.plot().axes[0]
    assert list(axes.lines[0].get_xdata()) == [step.told for step in drawn.path]
    assert "masks" in axes.get_xlabel()
    model.search(data, "tail", "block", remove=2).plot(tmp_path / "tail.svg")


class AddingHost(pc.Host):
    """Evaluates whole masks alone; each sublayer that is missing does its own damage."""

    n_blocks = 4
    hidden_size = 8
    vocabulary_size = 10
    damages = np.array([0.3, 0.1, 0.4, 0.15, 0.9, 0.2, 0.6, 0.5])

    def evaluate(self, batch: Any, token_weights: Any, keep_masks: Any) -> Any:
        return 1 + (1 - np.asarray(keep_masks, dtype=np.float64)) @ self.damages


def test_search_over_a_host_is_that_of_the_model() -> None:
    text = pc.Data([[1, 2, 3]])
    with pc.from_host(AddingHost()) as model:
        for strategy in ("greedy", "evolutionary"):
            found = model.search(text, strategy, remove=3)
            assert found.removed == ["ffn.0", "ffn.1", "ffn.2"]
            assert found.damage == pytest.approx(1.45)
        window = model.search(text, "window", "block", remove=1)
        assert window.removed == ["attn.0", "ffn.0"] and window.provenance["metric"] is None
        bounded = model.search(text, max_loss_increase=0.3)
        assert bounded.removed == ["ffn.0", "ffn.1"]
        with pytest.raises(pc.UnsupportedError):
            model.search(text, decode_ms=1.0)
        with pytest.raises(pc.UnsupportedError):
            model.token_times()
