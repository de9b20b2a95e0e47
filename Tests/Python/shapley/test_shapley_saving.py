# SPDX-License-Identifier: Apache-2.0
"""Games as bytes: they go on where they stood, and damage is seen."""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
from games import TableGame, play

TABLE = TableGame.layered(7, 1)


def same(one: pc.Game, two: pc.Game) -> bool:
    return (
        one.state.to_dict() == two.state.to_dict()
        and np.array_equal(one.values, two.values)
        and np.array_equal(one.standard_errors, two.standard_errors)
        and np.array_equal(one.strata(), two.strata(), equal_nan=True)
    )


@pytest.mark.parametrize("estimator", pc.ESTIMATORS)
@pytest.mark.parametrize("rounds", [0, 1, 7])
def test_saved_games_end_with_the_same_numbers(estimator: str, rounds: int) -> None:
    budget = None if estimator == "exact" else 70
    whole = play(pc.Game(7, estimator, seed=2, budget=budget), TABLE, 4)
    part = play(pc.Game(7, estimator, seed=2, budget=budget), TABLE, 4, rounds)
    with pc.Game.load(part.save()) as again:
        assert again.state.to_dict() == part.state.to_dict() and again.save() == part.save()
        assert same(play(again, TABLE, 4), whole)


def test_outstanding_coalitions_are_asked_for_again() -> None:
    game = play(pc.Game(7, "kernel_shap", seed=3, budget=60), TABLE, 10, 2)
    waiting = game.ask(8)
    again = pc.Game.load(game.save())
    assert again.state.outstanding == 0 and game.state.outstanding == 8
    assert again.state.told == game.state.told == 20
    assert np.array_equal(again.ask(8), waiting)
    # The order in which they come back does not matter either.
    again.tell(waiting[::-1], TABLE(waiting[::-1]))
    game.tell(waiting, TABLE(waiting))
    assert same(play(game, TABLE), play(again, TABLE, 3))


def test_saved_games_keep_their_options() -> None:
    game = pc.Game(7, "banzhaf", seed=4, budget=50, keep_probability=0.8)
    again = pc.Game.load(game.save())
    assert again.state.to_dict() == game.state.to_dict()
    assert same(play(game, TABLE), play(again, TABLE))
    tight = pc.Game(7, "antithetic", budget=100, target_error=0.2)
    told = play(pc.Game.load(tight.save()), TABLE).state.told
    assert told == play(tight, TABLE).state.told < 100


def test_same_game_is_saved_as_the_same_bytes() -> None:
    one = play(pc.Game(7, budget=40), TABLE, 4).save()
    two = play(pc.Game(7, budget=40), TABLE, 40).save()
    assert one == two and one != pc.Game(7, budget=40).save()


@pytest.fixture(scope="module")
def saved() -> bytes:
    return play(pc.Game(7, "surrogate", seed=1, budget=60), TABLE, 12, 1).save()


def test_every_truncation_of_a_saved_game_is_seen(saved: bytes) -> None:
    for length in range(len(saved)):
        with pytest.raises(pc.FormatError):
            pc.Game.load(saved[:length])
    with pytest.raises(pc.FormatError):
        pc.Game.load(saved + b"\0")


def test_every_flipped_bit_of_a_saved_game_is_seen(saved: bytes) -> None:
    rng = np.random.default_rng(0)
    for place in range(len(saved)):
        damaged = bytearray(saved)
        damaged[place] ^= 1 << int(rng.integers(8))
        with pytest.raises((pc.FormatError, pc.UnsupportedError)):
            pc.Game.load(bytes(damaged))


def test_bytes_that_are_not_a_game_are_refused(saved: bytes) -> None:
    rng = np.random.default_rng(1)
    for length in (0, 1, 8, 64, 500, 5000):
        with pytest.raises(pc.FormatError, match="game"):
            pc.Game.load(rng.bytes(length))
    swapped = saved[:40] + saved[44:48] + saved[40:44] + saved[48:]
    if swapped != saved:
        with pytest.raises(pc.FormatError):
            pc.Game.load(swapped)
    for wrong in ("text", 7, None):
        with pytest.raises(pc.ArgumentError, match="bytes"):
            pc.Game.load(wrong)  # type: ignore[arg-type]


def test_any_buffer_of_bytes_is_taken(saved: bytes) -> None:
    for kind in (bytes, bytearray, memoryview):
        assert pc.Game.load(kind(saved)).state.told == 12
