# SPDX-License-Identifier: Apache-2.0
"""Exact values, of random games: against shapiq, and against the definitions."""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
import shapiq
from games import TableGame, all_masks, pairs, play


def oracle(game: TableGame, index: str, order: int = 1) -> shapiq.InteractionValues:
    return shapiq.ExactComputer(game=game, n_players=game.players)(index=index, order=order)


@pytest.mark.parametrize("players", [2, 5, 8])
@pytest.mark.parametrize("seed", [0, 1])
def test_exact_values_are_those_of_shapiq(players: int, seed: int) -> None:
    table = TableGame.random(players, seed)
    game = play(pc.Game(players, "exact"), table)
    assert game.state.told == 2**players and game.done
    found = game.result()
    shapley, banzhaf = oracle(table, "SV"), oracle(table, "BV")
    np.testing.assert_allclose(
        found.values, [shapley[(i,)] for i in range(players)], rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(
        game.banzhaf(), [banzhaf[(i,)] for i in range(players)], rtol=0, atol=1e-9
    )
    assert np.array_equal(found.standard_errors, np.zeros(players))
    assert game.efficiency_gap == pytest.approx(0, abs=1e-12)
    total = table(np.ones(players)) - table(np.zeros(players))
    assert found.values.sum() == pytest.approx(float(total), abs=1e-12)


@pytest.mark.parametrize("players", [2, 4, 7])
def test_interactions_are_those_of_shapiq(players: int) -> None:
    table = TableGame.random(players, 3)
    found = play(pc.Game(players, "exact"), table).interactions()
    wanted = oracle(table, "SII", 2)
    assert found.shape == (players, players)
    assert np.array_equal(found, found.T) and not found.diagonal().any()
    for i, j in pairs(players):
        assert found[i, j] == pytest.approx(wanted[(i, j)], abs=1e-9)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_weighted_banzhaf_is_its_definition(keep: float) -> None:
    table = TableGame.random(6, 4)
    game = play(pc.Game(6, "exact"), table)
    np.testing.assert_allclose(game.banzhaf(keep), table.banzhaf(keep), rtol=0, atol=1e-12)
    for wrong in (0, 1, -0.1, float("nan")):
        with pytest.raises(pc.ArgumentError, match="keep_probability"):
            game.banzhaf(wrong)


def test_strata_are_means_by_size_and_add_up_to_the_value() -> None:
    players, table = 6, TableGame.random(6, 5)
    game = play(pc.Game(players, "exact"), table)
    strata, masks, worths = game.strata(), all_masks(players), table.table
    assert strata.shape == (players, players - 1)
    for player in range(players):
        for size in range(1, players):
            at_size = masks.sum(1) == size
            wanted = worths[at_size & masks[:, player]].mean()
            wanted -= worths[at_size & ~masks[:, player]].mean()
            assert strata[player, size - 1] == pytest.approx(wanted, abs=1e-12)
    share = (worths[-1] - worths[0]) / players
    np.testing.assert_allclose(share + strata.sum(1) / players, game.values, rtol=0, atol=1e-12)


def test_only_player_has_the_whole_worth() -> None:
    game = play(pc.Game(1, "exact"), TableGame([1.5, 4.0]))
    assert game.values.tolist() == [2.5]
    assert game.strata().shape == (1, 0)
    assert game.interactions().tolist() == [[0.0]]


def test_exact_values_keep_the_axioms() -> None:
    masks = all_masks(5)
    one, two = TableGame.random(5, 6), TableGame.random(5, 7)

    def values(table: np.ndarray) -> np.ndarray:
        return play(pc.Game(5, "exact"), TableGame(table)).values

    linear = values(2 * one.table - 3 * two.table)
    np.testing.assert_allclose(
        linear, 2 * values(one.table) - 3 * values(two.table), rtol=0, atol=1e-12
    )
    # Player 4 adds nothing; players 0 and 1 cannot be told apart.
    dull = one(np.where(np.arange(5) == 4, False, masks))
    assert values(dull)[4] == pytest.approx(0, abs=1e-12)
    swapped = (one.table + one(masks[:, [1, 0, 2, 3, 4]])) / 2
    assert values(swapped)[0] == pytest.approx(values(swapped)[1], abs=1e-12)


def test_leave_one_out_leaves_every_player_out_once() -> None:
    table = TableGame.random(7, 8)
    game = play(pc.Game(7, "leave_one_out"), table)
    assert game.state.told == 8
    everything = np.ones(7, dtype=bool)
    wanted = [float(table(everything) - table(np.arange(7) != i)) for i in range(7)]
    np.testing.assert_allclose(game.values, wanted, rtol=0, atol=1e-12)
    assert not game.standard_errors.any()
    with pytest.raises(pc.UnsupportedError, match="exact"):
        game.interactions()
    with pytest.raises(pc.UnsupportedError, match="exact"):
        game.banzhaf()


def test_pair_differences_are_second_differences_at_the_full_set() -> None:
    table = TableGame.random(6, 9)
    game = play(pc.Game(6, "pair_differences"), table)
    assert game.state.told == 1 + 6 + 15
    number = np.arange(6)
    everything = float(table(np.ones(6)))
    alone = [float(table(number != i)) for i in range(6)]
    np.testing.assert_allclose(game.values, everything - np.array(alone), rtol=0, atol=1e-12)
    found = game.interactions()
    assert np.array_equal(found, found.T) and not found.diagonal().any()
    for i, j in pairs(6):
        both = float(table((number != i) & (number != j)))
        assert found[i, j] == pytest.approx(everything - alone[i] - alone[j] + both, abs=1e-12)
