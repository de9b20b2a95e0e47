# SPDX-License-Identifier: Apache-2.0
"""Games used wrongly: a clear error, and a game that is as it was."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import prunecore as pc
import pytest
from games import TableGame, play

TABLE = TableGame.layered(6, 0)


@pytest.fixture
def game() -> pc.Game:
    """A game with 8 coalitions told and 4 outstanding."""
    made = play(pc.Game(6, "antithetic", budget=40), TABLE, 8, 1)
    assert len(made.ask(4)) == 4
    return made


def twice(game: pc.Game) -> None:
    fresh = pc.Game(6, "antithetic", budget=40)
    masks = fresh.ask(1)
    game.tell(masks, TABLE(masks))


def twice_at_once(game: pc.Game) -> None:
    masks = np.repeat(game.ask(1), 2, axis=0)
    game.tell(masks, TABLE(masks))


def never_asked(game: pc.Game) -> None:
    told = [tuple(row) for row in outstanding(game)]
    for index in range(64):
        mask = (index >> np.arange(6) & 1).astype(bool)
        if tuple(mask) not in told:
            try:
                game.tell(mask, 1.0)
            except pc.ArgumentError as error:
                if "never" in str(error):
                    raise


def outstanding(game: pc.Game) -> np.ndarray:
    """What a game waits for: a copy asks for it again."""
    return pc.Game.load(game.save()).ask(game.state.outstanding)


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        (twice, pc.ArgumentError, "told before"),
        (twice_at_once, pc.ArgumentError, "told before"),
        (never_asked, pc.ArgumentError, "never asked"),
        (lambda g: g.tell(outstanding(g), np.full(4, np.nan)), pc.NonFiniteError, "nan"),
        (lambda g: g.tell(outstanding(g), [1, 2, 3, np.inf]), pc.NonFiniteError, "inf"),
        (lambda g: g.tell(outstanding(g), [1, 2, 3]), pc.ArgumentError, "shape"),
        (lambda g: g.tell(outstanding(g)[:, :5], [1, 2, 3, 4]), pc.ArgumentError, "shape"),
        (lambda g: g.tell(outstanding(g)[0], [1.0, 2.0]), pc.ArgumentError, "shape"),
        (lambda g: g.tell([[2, 0, 1, 1, 1, 1]], [1.0]), pc.ArgumentError, "0 .absent. or 1"),
        (lambda g: g.tell([["a"] * 6], [1.0]), pc.ArgumentError, "0 .absent. or 1"),
        (lambda g: g.tell(outstanding(g), ["a"] * 4), pc.ArgumentError, "array of numbers"),
        (lambda g: g.ask(-1), pc.ArgumentError, "most is -1"),
        (lambda g: g.ask("many"), pc.ArgumentError, "whole number"),
        (lambda g: g.interactions(), pc.UnsupportedError, "exact"),
        (lambda g: g.banzhaf(), pc.UnsupportedError, "exact"),
    ],
)
def test_wrong_use_is_told_and_does_no_harm(
    game: pc.Game, act: Callable[[pc.Game], object], kind: type[pc.Error], words: str
) -> None:
    before = game.state
    if act is twice_at_once:
        before = pc.GameState(**{**vars(before), "asked": 13, "outstanding": 5})
    with pytest.raises(kind, match=f"(?i){words}"):
        act(game)
    assert game.state.to_dict() == before.to_dict()
    left = outstanding(game)
    game.tell(left, TABLE(left))
    play(game, TABLE)
    whole = play(pc.Game(6, "antithetic", budget=40), TABLE)
    assert np.array_equal(game.values, whole.values)


def test_one_bad_worth_takes_none_of_them(game: pc.Game) -> None:
    left = outstanding(game)
    worths = TABLE(left)
    worths[3] = np.nan
    with pytest.raises(pc.NonFiniteError):
        game.tell(left, worths)
    game.tell(left, TABLE(left))  # all four are still wanted
    assert game.state.outstanding == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"players": 0}, "players is 0"),
        ({"players": 8193}, "8192"),
        ({"players": -1}, "players is -1"),
        ({"players": 2.5}, "whole number"),
        ({"players": "attn.0"}, "list of names"),
        ({"players": []}, "players is 0"),
        ({"players": ["a", "a"]}, "same name"),
        ({"players": 21, "estimator": "exact"}, "20"),
        ({"estimator": "best"}, "best"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed"),
        ({"budget": 0}, "budget is 0"),
        ({"budget": 2**63}, "budget"),
        ({"target_error": 0}, "target_error is 0"),
        ({"target_error": float("nan")}, "target_error is nan"),
        ({"target_error": "low"}, "must be a number"),
        ({"least": 0}, "least is 0"),
        ({"least": 7}, "least|lowest"),
        ({"certainty": 1}, "certainty is 1"),
        ({"certainty": 0}, "certainty is 0"),
        ({"estimator": "banzhaf", "keep_probability": 1}, "keep_probability is 1"),
        ({"estimator": "random_subnetworks", "subnetwork_size": 0}, "subnetwork_size is 0"),
        ({"estimator": "random_subnetworks", "subnetwork_size": 6}, "subnetwork"),
        ({"subnetworks_per_round": 0}, "subnetworks_per_round is 0"),
        ({"estimator": "truncated", "truncation": 0}, "truncation is 0"),
        ({"estimator": "truncated", "truncation": -1}, "truncation is -1"),
    ],
)
def test_options_out_of_range_are_named(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(pc.ArgumentError, match=words):
        pc.Game(**{"players": 6, **arguments})  # type: ignore[arg-type]


def test_closed_games_say_so(game: pc.Game) -> None:
    with game:
        assert not game.closed
    assert game.closed and "closed" in repr(game)
    game.close()
    for act in (
        lambda: game.ask(1),
        lambda: game.ask(0),
        lambda: game.tell([True] * 6, 1.0),
        lambda: game.state,
        lambda: game.done,
        lambda: game.values,
        game.result,
        game.strata,
        game.interactions,
        game.banzhaf,
        game.save,
    ):
        with pytest.raises(pc.HandleError, match="game is closed"):
            act()


def test_games_check_the_names_of_players() -> None:
    game = play(pc.Game(["left", "right"], "exact"), TableGame([0, 1, 2, 4]))
    assert game.names == game.result().names == ("left", "right")
    assert game.players == 2
    assert pc.Game(3).names == ("player.0", "player.1", "player.2")
    assert repr(game) == "Game(players=2, 'exact', told=4)"
    again = pickle.loads(pickle.dumps(game))
    assert again.names == ("left", "right") and np.array_equal(again.values, game.values)
    with pytest.raises(pc.ArgumentError, match="3 names for 2 players"):
        pc.Game.load(game.save(), ["a", "b", "c"])


def test_single_coalitions_and_other_types_are_taken() -> None:
    game = pc.Game(6, "exact")
    first = game.ask(1)
    game.tell(first[0], 3)
    rest = game.ask(10**9)  # more than there are, and than memory could hold
    assert rest.shape == (63, 6) and rest.dtype == np.bool_
    assert game.ask(5).shape == (0, 6)
    game.tell(rest[:5].astype(float), TABLE(rest[:5]).astype(np.float32))
    game.tell(rest[5:].tolist(), TABLE(rest[5:]).tolist())
    game.tell(np.empty((0, 6)), [])
    assert game.done and game.ask(0).shape == (0, 6)
