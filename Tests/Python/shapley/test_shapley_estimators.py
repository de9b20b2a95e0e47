# SPDX-License-Identifier: Apache-2.0
"""Estimators: what they converge to, how sure they are, and what decides their numbers."""

from __future__ import annotations

import math

import numpy as np
import prunecore as pc
import pytest
from games import SAMPLING, TableGame, play

SEEDS = range(8)


def test_default_estimator_is_the_surrogate() -> None:
    assert pc.Game(5).state.estimator == "surrogate"
    assert pc.Game(5, "default").state.estimator == "surrogate"
    for name in pc.ESTIMATORS:
        assert pc.Game(5, name).state.estimator == name
        assert pc.Game(5, name.replace("_", "-")).state.estimator == name


def options(estimator: str) -> dict[str, float]:
    # Without truncation, for that is a bias which the standard errors do not speak of.
    return {"truncation": 1e-12} if estimator == "truncated" else {}


@pytest.mark.parametrize("estimator", SAMPLING)
@pytest.mark.parametrize("players", [6, 7, 8])
def test_estimates_agree_with_the_exact_values(estimator: str, players: int) -> None:
    errors: dict[int, float] = {}
    covered, total = 0, 0
    for budget in (2**players // 2, 2**players * 3 // 4):
        squares = []
        for seed in SEEDS:
            table = TableGame.layered(players, seed)
            exact = table.shapley()
            game = pc.Game(players, estimator, seed=seed, budget=budget, **options(estimator))
            found = play(game, table).result()
            assert found.state.told <= budget and found.state.done
            off = np.abs(found.values - exact)
            assert off.max() <= 4 * found.standard_errors.max() + 1e-9, (budget, seed)
            covered += int(np.sum(off <= 1.96 * found.standard_errors + 1e-9))
            total += players
            squares.append(np.sum(off**2) / np.sum(exact**2))
        errors[budget] = float(np.mean(squares))
    assert covered / total > 0.85
    few, many = errors.values()
    assert many < few and many < 0.1


@pytest.mark.parametrize("estimator", SAMPLING)
def test_once_everything_is_known_the_value_is_exact(estimator: str) -> None:
    table = TableGame.random(5, 1)
    game = play(pc.Game(5, estimator, budget=10_000, **options(estimator)), table)
    sampled = estimator in ("permutation", "antithetic", "truncated")
    tolerance = 5 * game.standard_errors.max() if sampled else 0
    assert game.state.told <= 32
    np.testing.assert_allclose(game.values, table.shapley(), rtol=0, atol=tolerance + 1e-9)


@pytest.mark.parametrize("keep", [0.5, 0.8])
def test_banzhaf_estimates_agree_with_the_exact_values(keep: float) -> None:
    covered, total = 0, 0
    for seed in SEEDS:
        table = TableGame.layered(8, seed)
        game = pc.Game(8, "banzhaf", seed=seed, budget=120, keep_probability=keep)
        found = play(game, table).result()
        off = np.abs(found.values - table.banzhaf(keep))
        assert (off <= 5 * found.standard_errors).all()
        covered += int(np.sum(off <= 1.96 * found.standard_errors))
        total += 8
    assert covered / total > 0.85


@pytest.mark.parametrize("estimator", ["permutation", "antithetic", "kernel_shap"])
def test_estimates_that_are_efficient_by_construction(estimator: str) -> None:
    table = TableGame.random(7, 2)
    game = play(pc.Game(7, estimator, budget=60), table)
    assert game.efficiency_gap == pytest.approx(0, abs=1e-9)
    ends = float(table(np.ones(7)) - table(np.zeros(7)))
    assert game.values.sum() == pytest.approx(ends, abs=1e-9)


@pytest.mark.parametrize("estimator", pc.ESTIMATORS)
def test_same_seed_asks_for_the_same_coalitions(estimator: str) -> None:
    def asked(seed: int) -> list[list[bool]]:
        rows: list[list[bool]] = []
        table = TableGame.layered(7, 0)

        def worth(masks: np.ndarray) -> np.ndarray:
            rows.extend(masks.tolist())
            return table(masks)

        play(pc.Game(7, estimator, seed=seed, budget=None), worth, 8, 5)
        return rows

    assert asked(3) == asked(3)
    if estimator not in ("exact", "leave_one_out", "pair_differences"):
        assert asked(3) != asked(4)


ORDERED = [name for name in pc.ESTIMATORS if name != "truncated"]


@pytest.mark.parametrize("estimator", ORDERED)
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_estimates_do_not_depend_on_order_and_batches(estimator: str, batch: int) -> None:
    table = TableGame.layered(7, 3)
    one = play(
        pc.Game(7, estimator, seed=5, budget=50 if estimator != "exact" else None), table, 16
    )
    two = pc.Game(7, estimator, seed=5, budget=50 if estimator != "exact" else None)
    rng = np.random.default_rng(batch)
    while not two.done:
        masks = rng.permutation(two.ask(batch))
        parts = np.array_split(masks, 1 + len(masks) // 3)
        for part in parts:
            two.tell(part, table(part))
    assert two.state.to_dict() == one.state.to_dict()
    assert np.array_equal(two.values, one.values)
    assert np.array_equal(two.standard_errors, one.standard_errors)
    assert np.array_equal(two.strata(), one.strata(), equal_nan=True)


def test_orders_that_are_left_early_are_told_in_any_order_too() -> None:
    # What is asked next depends on worths, so batches may differ; one at a time is one order.
    table = TableGame.layered(7, 3)
    one = play(pc.Game(7, "truncated", seed=5, budget=50), table, 1)
    two = pc.Game(7, "truncated", seed=5, budget=50)
    told: set[bytes] = set()
    while not two.done:
        masks = np.random.default_rng(len(told)).permutation(two.ask(20))
        assert not told & {row.tobytes() for row in masks}
        told |= {row.tobytes() for row in masks}
        two.tell(masks, table(masks))
    assert two.state.told == len(told) <= 50 and one.state.told <= 50
    np.testing.assert_allclose(
        two.values, table.shapley(), rtol=0, atol=5 * two.standard_errors.max() + 0.02
    )


@pytest.mark.parametrize("estimator", [*SAMPLING, "banzhaf"])
def test_estimates_can_be_read_at_any_time(estimator: str) -> None:
    table = TableGame.layered(8, 4)
    game = pc.Game(8, estimator, budget=200)
    with pytest.raises(pc.DataError):
        game.result()
    assert math.isnan(game.state.largest_error)
    seen = []
    while not game.done:
        masks = game.ask(9)
        game.tell(masks, table(masks))
        try:
            found = game.result()
        except pc.DataError:
            assert math.isnan(game.state.largest_error) or math.isinf(game.state.largest_error)
            continue
        assert np.isfinite(found.values).all() and (found.standard_errors >= 0).all()
        assert found.state.largest_error == found.standard_errors.max()
        seen.append(found.standard_errors.max())
    assert len(seen) > 5 and seen[-1] < max(seen)


def test_done_when_the_errors_are_small_enough() -> None:
    table = TableGame.layered(8, 5)
    loose = play(pc.Game(8, "antithetic", budget=250, target_error=0.2), table)
    tight = play(pc.Game(8, "antithetic", budget=250, target_error=0.05), table)
    assert loose.state.told < tight.state.told < 250
    assert loose.standard_errors.max() <= 0.2 and tight.standard_errors.max() <= 0.05


def test_done_when_the_least_players_are_certain() -> None:
    worths = np.array([5.0, 0.0, 4.0, 6.0, 0.1, 5.5, 4.5, 6.5])
    rng = np.random.default_rng(0)
    table = TableGame(
        (np.arange(256)[:, None] >> np.arange(8) & 1) @ worths + rng.normal(0, 0.3, 256)
    )
    sure = play(pc.Game(8, "permutation", budget=250, least=2), table)
    assert sure.state.told < 250
    assert set(np.argsort(sure.values)[:2]) == {1, 4}
    surer = play(pc.Game(8, "permutation", budget=250, least=2, certainty=1 - 1e-12), table)
    assert surer.state.told >= sure.state.told
    unsure = play(pc.Game(8, "permutation", budget=250, least=1), table)
    assert unsure.state.told > sure.state.told  # players 1 and 4 are too close to each other


def test_estimators_keep_their_budget() -> None:
    table = TableGame.layered(8, 6)
    for estimator in (*SAMPLING, "banzhaf", "random_subnetworks"):
        for budget in (1, 30, 31):
            game = pc.Game(8, estimator, budget=budget)
            while len(masks := game.ask(1000)):
                game.tell(masks, table(masks))
            assert game.done and game.state.told <= budget
    assert play(pc.Game(4, "surrogate"), TableGame.random(4, 0)).state.told <= 16


@pytest.mark.parametrize("size", [None, 3, 6])
def test_random_subnetworks_are_means_with_and_without(size: int | None) -> None:
    table = TableGame.layered(7, 7)
    game = pc.Game(7, "random_subnetworks", seed=1, budget=70, subnetwork_size=size)
    rows = []
    while not game.done:
        masks = game.ask(10)
        assert (masks.sum(1) == (size or 3)).all()
        # The worth of a coalition may differ from round to round: it is measured on another text.
        rows += [(mask, float(table(mask)) + 0.01 * len(rows)) for mask in masks]
        game.tell(masks, [worth for _, worth in rows[-len(masks) :]])
    masks, worths = np.array([m for m, _ in rows]), np.array([w for _, w in rows])
    assert len(rows) == 70
    wanted = [worths[masks[:, i]].mean() - worths[~masks[:, i]].mean() for i in range(7)]
    np.testing.assert_allclose(game.values, wanted, rtol=0, atol=1e-12)


def test_leaving_one_out_at_a_time_is_affine_in_the_damage() -> None:
    # Of arXiv 2407.16286: influence_i = N / (N - 1) d_i - T / (N - 1), T the sum of all d.
    table, n = TableGame.layered(8, 8), 8
    game = play(pc.Game(n, "random_subnetworks", budget=n, subnetwork_size=n - 1), table)
    damage = play(pc.Game(n, "leave_one_out"), table).values
    wanted = n / (n - 1) * damage - damage.sum() / (n - 1)
    np.testing.assert_allclose(game.values, wanted, rtol=0, atol=1e-12)


def test_a_player_that_was_never_absent_is_named() -> None:
    table = TableGame.layered(8, 9)
    game = play(pc.Game(8, "random_subnetworks", budget=3, subnetwork_size=7), table)
    with pytest.raises(pc.DataError, match=r"player \d was never absent"):
        game.result()
    assert math.isnan(game.state.largest_error)
