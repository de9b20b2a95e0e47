# SPDX-License-Identifier: Apache-2.0
"""Who plays: the units of a granularity, or a host's own groups."""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
from prunecore.shapley.players import granularity_players, grouped_players, prune_players


@pytest.mark.parametrize(
    ("granularity", "wanted"),
    [
        ("sublayer", [0, 1, 2, 3, 4, 5]),
        ("block", [0, 0, 1, 1, 2, 2]),
        ("attention", [0, -1, 1, -1, 2, -1]),
        ("feed_forward", [-1, 0, -1, 1, -1, 2]),
        ("feed-forward", [-1, 0, -1, 1, -1, 2]),
    ],
)
def test_units_are_players(granularity: str, wanted: list[int]) -> None:
    players = granularity_players(granularity, 3)
    assert players.of_sublayers(3).tolist() == wanted
    assert len(players) == len(players.names) == len(players.members) == max(wanted) + 1
    assert players.granularity == granularity.replace("-", "_")


def test_groups_are_players() -> None:
    players = grouped_players([["attn.0"], ("block.1",), [np.int64(5)], "ffn.3", 6], 4)
    assert players.of_sublayers(4).tolist() == [0, -1, 1, 1, -1, 2, 4, 3]
    assert players.names == ("attn.0", "block.1", "ffn.2", "ffn.3", "attn.3")
    assert players.granularity == "players"
    mixed = grouped_players([["attn.0", "ffn.2"], [2, 3, 6]], 4)
    assert mixed.names == ("attn.0+ffn.2", "block.1+attn.3")
    named = grouped_players({"early": ["block.0", "block.1"], "late": ["block.2", 6, 7]}, 4)
    assert named.names == ("early", "late")
    assert named.members == ((0, 1, 2, 3), (4, 5, 6, 7))


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([], "at least one"),
        ({}, "at least one"),
        ([["attn.0"], []], "player 1 has no sublayer"),
        ([["attn.0"], ["block.0"]], "attn.0 is in players 0 and 1"),
        ([["attn.4"]], "attn.4"),
        ([[8]], "sublayer 8"),
        ([[-1]], "sublayer -1"),
        ([["layer.0"]], "layer.0"),
        ([[1.5]], "player 0 is not a list of sublayers"),
        ([None], "player 0 is not a list of sublayers"),
        ("attn.0", "list of groups"),
    ],
)
def test_wrong_groups_are_named(groups: object, words: str) -> None:
    with pytest.raises(pc.ArgumentError, match=words):
        grouped_players(groups, 4)  # type: ignore[arg-type]


def test_groups_are_removed_in_order() -> None:
    players = grouped_players([["attn.0", "ffn.1"], ["block.2"], ["attn.1"], ["ffn.3"]], 4)
    values, whole = np.array([0.5, 0.1, 0.5, -2.0]), np.ones(8, dtype=np.uint8)

    def removed(n: int, start: np.ndarray = whole) -> list[str]:
        return pc.Mask(prune_players(players, values, n, start)).removed

    assert removed(0) == []
    assert removed(1) == ["ffn.3"]
    assert removed(2) == ["attn.2", "ffn.2", "ffn.3"]
    assert removed(3) == ["attn.0", "ffn.1", "attn.2", "ffn.2", "ffn.3"]  # the tie: lower index
    assert whole.all()
    # A group of which a sublayer is gone already is left alone.
    start = pc.Mask.remove("ffn.2", 4).keep
    assert removed(1, start) == ["ffn.2", "ffn.3"]
    assert removed(2, start) == ["attn.0", "ffn.1", "ffn.2", "ffn.3"]
    for wrong in (-1, 4):
        with pytest.raises(pc.ArgumentError, match="there are 3"):
            removed(wrong, start)
