# SPDX-License-Identifier: Apache-2.0
"""Searches by ask and tell, over damages that are known: what they find, and how they stand."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import prunecore as pc
import pytest

BLOCKS = 12
SUBLAYERS = 2 * BLOCKS

Array = npt.NDArray[Any]


class Damages:
    """Like a model's: each sublayer does its own, some pairs do more together."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.own = rng.gamma(1.5, 0.1, SUBLAYERS)
        self.pairs = np.triu(rng.normal(0.01, 0.03, (SUBLAYERS, SUBLAYERS)), 1)

    def __call__(self, masks: npt.ArrayLike) -> Array:
        gone = 1.0 - np.atleast_2d(np.asarray(masks)).astype(np.float64)
        return 2.0 + gone @ self.own + np.einsum("mi,ij,mj->m", gone, self.pairs, gone)

    def best(self, units: list[list[int]], count: int) -> tuple[float, Array]:
        """The least damage of all subsets of this size, and its mask."""
        rows = []
        for subset in combinations(units, count):
            row = np.ones(SUBLAYERS)
            row[[sublayer for unit in subset for sublayer in unit]] = 0
            rows.append(row)
        masks = np.array(rows)
        damages = self(masks)
        return float(damages.min()), masks[int(damages.argmin())]


BY_BLOCK = [[2 * block, 2 * block + 1] for block in range(BLOCKS)]


def run(search: pc.Search, damages: Callable[[Array], Array], batch: int = 64) -> pc.Search:
    """Asks and tells until the search is done."""
    while not search.done:
        masks = search.ask(batch)
        assert 0 < len(masks) <= batch and masks.dtype == np.bool_
        search.tell(masks, damages(masks))
    assert search.ask(5).shape == (0, SUBLAYERS)
    return search


def records(search: pc.Search) -> list[dict[str, Any]]:
    """The path, in which damages that were not told are equal."""
    return [step.to_dict() for step in search.path]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 3, 6])
def test_greedy_and_evolutionary_find_the_best_blocks(
    model: pc.Model, seed: int, count: int
) -> None:
    damages = Damages(seed)
    least, best = damages.best(BY_BLOCK, count)
    for strategy in ("greedy", "evolutionary"):
        search = run(pc.Search(model, strategy, "block", remove=count, seed=seed), damages)
        assert search.state.damage == pytest.approx(least, abs=1e-12), strategy
        assert np.array_equal(search.mask.keep, best)
        assert search.state.met and search.state.removed == count


def test_the_path_of_greedy_is_that_of_a_plain_loop(model: pc.Model) -> None:
    damages = Damages(3)
    search = run(pc.Search(model, "greedy", remove=5), damages)
    keep = np.ones(SUBLAYERS)
    steps = search.path
    assert steps[0].mask == pc.Mask.all(BLOCKS) and steps[0].unit is None
    assert steps[0].damage == pytest.approx(2.0) and steps[0].n_removed == 0
    for number in range(1, 6):
        tried = []
        for unit in np.flatnonzero(keep):
            row = keep.copy()
            row[unit] = 0
            tried.append((float(damages(row)[0]), int(unit)))
        damage, unit = min(tried)
        keep[unit] = 0
        step = steps[number]
        assert step.unit == f"{'ffn' if unit % 2 else 'attn'}.{unit // 2}"
        assert np.array_equal(step.mask.keep, keep) and step.n_removed == number
        assert step.damage == pytest.approx(damage)
        cost = model.cost(step.mask)
        assert (step.parameters, step.parameter_bytes, step.kv_bytes) == (
            cost.parameters,
            cost.parameter_bytes,
            cost.kv_bytes,
        )
    assert search.state.damage <= steps[5].damage  # exchanges afterwards lower it or leave it
    assert search.mask == steps[-1].mask and search.state.steps == len(steps)
    assert [step.told for step in steps] == sorted(step.told for step in steps)


def test_strategies_that_choose_without_damages(model: pc.Model) -> None:
    damages = Damages(0)
    tail = run(pc.Search(model, "tail", remove=3), damages)
    assert tail.mask.removed == ["ffn.10", "attn.11", "ffn.11"]
    scores = np.random.default_rng(5).random(BLOCKS)
    shot = run(pc.Search(model, "one_shot", "block", remove=4, scores=scores), damages)
    lowest = sorted(np.argsort(scores)[:4])
    assert shot.mask.removed == [f"{k}.{b}" for b in lowest for k in ("attn", "ffn")]
    assert [step.unit for step in shot.path[1:]] == [f"block.{b}" for b in np.argsort(scores)[:4]]
    assert shot.state.damage == pytest.approx(float(damages(shot.mask.keep)[0]))
    drawn = {
        tuple(run(pc.Search(model, "random", remove=4, seed=seed), damages).mask.removed)
        for seed in (0, 0, 1, 2, 3)
    }
    assert len(drawn) == 4  # of five, two of one seed
    for removed in drawn:
        assert len(removed) == 4


def test_window_strategy_finds_the_best_run_of_blocks(model: pc.Model) -> None:
    damages = Damages(1)
    search = run(pc.Search(model, "window", remove=5), damages)
    runs = np.ones((SUBLAYERS - 4, SUBLAYERS))
    for first, row in enumerate(runs):
        row[first : first + 5] = 0
    found = damages(runs)
    assert search.state.damage == pytest.approx(found.min())
    assert np.array_equal(search.mask.keep, runs[int(found.argmin())])
    table = np.full((BLOCKS, BLOCKS), np.nan)
    for length in range(1, BLOCKS + 1):
        table[length - 1, : BLOCKS - length + 1] = np.random.default_rng(length).random(
            BLOCKS - length + 1
        )
    scored = run(pc.Search(model, "window", "block", remove=3, scores=table), damages)
    first = int(np.nanargmin(table[2]))
    assert scored.mask == pc.Mask.remove([f"block.{first + i}" for i in range(3)], BLOCKS)


@pytest.mark.parametrize("strategy", ["greedy", "evolutionary", "window"])
def test_search_does_not_depend_on_order_and_batches(model: pc.Model, strategy: str) -> None:
    damages = Damages(2)
    whole = run(pc.Search(model, strategy, remove=4, seed=7), damages, 1000)
    pieces = pc.Search(model, strategy, remove=4, seed=7)
    while not pieces.done:
        parts = []
        while len(masks := pieces.ask(5)):  # until it waits
            parts.append(masks)
        masks = np.concatenate(parts)[::-1]
        for mask, damage in zip(masks, damages(masks), strict=True):
            pieces.tell(mask, damage)
    assert pieces.mask == whole.mask and records(pieces) == records(whole)
    assert pieces.state == whole.state


@pytest.mark.parametrize("strategy", ["greedy", "evolutionary", "window", "one_shot", "random"])
def test_saved_searches_go_on_as_if_they_had_never_stopped(model: pc.Model, strategy: str) -> None:
    damages = Damages(4)
    options: dict[str, Any] = {"remove": 4, "seed": 1}
    if strategy == "one_shot":
        options["scores"] = np.arange(SUBLAYERS)[::-1]
    whole = run(pc.Search(model, strategy, **options), damages)
    search = pc.Search(model, strategy, **options)
    while not search.done:
        masks = search.ask(9)
        search.ask(3)  # never told: asked for again after loading
        search.tell(masks, damages(masks))
        search = pc.Search.load(search.save())
    assert search.mask == whole.mask and records(search) == records(whole)
    copied = pickle.loads(pickle.dumps(search))
    assert copied.save() == search.save() and copied.mask == search.mask
    assert whole.state.damage == search.state.damage


def test_shares_of_the_data_are_told(model: pc.Model) -> None:
    damages = Damages(5)
    search = pc.Search(model, "evolutionary", "block", remove=3)
    shares: dict[float, int] = {}
    while not search.done:
        masks, share = search.ask_with_share(100)
        shares[share] = shares.get(share, 0) + len(masks)
        noise = 0 if share == 1 else 0.001 * masks.sum(1) % 2
        search.tell(masks, damages(masks) + noise)
    assert 1.0 in shares and min(shares) < 1 and all(0 < share <= 1 for share in shares)
    assert shares[1.0] < sum(shares.values()) / 2  # most are told on less than all
    assert search.state.damage == pytest.approx(float(damages(search.mask.keep)[0]))
    assert search.state.damage == pytest.approx(damages.best(BY_BLOCK, 3)[0], abs=0.02)


def test_search_says_its_state_until_it_is_closed(model: pc.Model) -> None:
    search = pc.Search(model, "default", remove=1)
    assert "greedy" in repr(search) and search.n_blocks == BLOCKS
    state = search.state
    assert not state.done and not state.met
    assert (state.asked, state.told, state.removed) == (0, 0, 0)
    assert np.isnan(state.damage) and state.to_dict()["damage"] is None
    assert pc.SearchState.from_dict(run(search, Damages(0)).state.to_dict()) == search.state
    with search:
        assert not search.closed
    assert search.closed and "closed" in repr(search)
    search.close()
    for act in (lambda: search.state, lambda: search.ask(1), lambda: search.mask, search.save):
        with pytest.raises(pc.HandleError):
            act()
    assert pc.STRATEGIES == ("one_shot", "greedy", "window", "tail", "evolutionary", "random")


def test_wrong_tellings_take_nothing_in(model: pc.Model) -> None:
    damages = Damages(0)
    search = pc.Search(model, remove=2)
    masks = search.ask(6)
    told = damages(masks)
    cases: list[tuple[Any, Any, type[pc.Error], str]] = [
        (masks, [*told[:5], np.nan], pc.NonFiniteError, "nan"),
        (masks, [np.inf, *told[1:]], pc.NonFiniteError, "inf"),
        (masks, told[:5], pc.ArgumentError, "masks have shape"),
        (masks[:, :-1], told, pc.ArgumentError, "24"),
        (2 * masks.astype(int), told, pc.ArgumentError, "entries of a mask"),
        (masks, ["a"] * 6, pc.ArgumentError, "the damages cannot be read"),
        (np.zeros(SUBLAYERS), 1.0, pc.ArgumentError, "(?i)not asked|never asked"),
        (masks[[0, 0]], told[[0, 0]], pc.ArgumentError, "(?i)told|twice"),
    ]
    for rows, values, kind, words in cases:
        with pytest.raises(kind, match=words):
            search.tell(rows, values)
        assert search.state.told == 0
    search.tell(masks, told)
    with pytest.raises(pc.ArgumentError, match="told before"):
        search.tell(masks[0], told[0])
    for most in (-1, "many", 1.5):
        with pytest.raises(pc.ArgumentError, match="most is"):
            search.ask(most)  # type: ignore[arg-type]
    run(search, damages)
    assert search.mask == run(pc.Search(model, remove=2), damages).mask


def test_damaged_bytes_of_a_search_are_refused(model: pc.Model) -> None:
    saved = run(pc.Search(model, "tail", remove=2), Damages(0)).save()
    for wrong in (b"", b"nothing", saved[:-1], saved + b"!", bytes([saved[0] ^ 1]) + saved[1:]):
        with pytest.raises((pc.FormatError, pc.UnsupportedError)):
            pc.Search.load(wrong)
    middle = len(saved) // 2
    with pytest.raises(pc.FormatError):
        pc.Search.load(saved[:middle] + bytes([saved[middle] ^ 4]) + saved[middle + 1 :])
    with pytest.raises(pc.ArgumentError, match="bytes"):
        pc.Search.load("text")  # type: ignore[arg-type]
