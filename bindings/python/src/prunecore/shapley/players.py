# SPDX-License-Identifier: Apache-2.0
"""Who plays a game of a model: sublayers, or groups of them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore._native.names.tables import GRANULARITY
from prunecore._native.names.units import sublayer_name, unit_names
from prunecore._native.numbers import checked_count
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Keep, Mask

GROUPS = "players"
"""The granularity of players that a host has grouped."""


@dataclass(frozen=True)
class Players:
    """The players of a model's game.

    Attributes
    ----------
    granularity : str
        A granularity, or "players" for groups that the host has chosen.
    names : tuple of str
        One per player.
    members : tuple of tuple of int
        The sublayers of each player. Those of no player are kept in every coalition.
    """

    granularity: str
    names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.names)

    def of_sublayers(self, n_blocks: int) -> npt.NDArray[np.int32]:
        """The player of each sublayer; -1 = none."""
        player_of = np.full(2 * n_blocks, -1, dtype=np.int32)
        for player, sublayers in enumerate(self.members):
            player_of[list(sublayers)] = player
        return player_of


def granularity_players(granularity: str, n_blocks: int) -> Players:
    """The units of a granularity as players."""
    kind = GRANULARITY.parse(granularity)
    names = unit_names(kind, n_blocks)
    apart, offsets = {
        "sublayer": (1, (0,)),
        "block": (2, (0, 1)),
        "attention": (2, (0,)),
        "feed_forward": (2, (1,)),
    }[kind]
    return Players(
        kind,
        names,
        tuple(tuple(apart * unit + offset for offset in offsets) for unit in range(len(names))),
    )


def grouped_players(groups: Mapping[str, Any] | Sequence[Any], n_blocks: int) -> Players:
    """Players from a host's own grouping.

    Parameters
    ----------
    groups : sequence of groups, or mapping of names to groups
        A group is a list of sublayers, or a single one: "attn.3", "ffn.3", "block.3" for both, or
        the index of a sublayer.
    n_blocks : int
        Blocks of the model.

    Raises
    ------
    ArgumentError
        There is no group, one is empty, or a sublayer is unknown or in two groups.
    """
    if isinstance(groups, (str, bytes)):
        raise ArgumentError(f"players is {groups!r}, but must be a list of groups of sublayers")
    named = isinstance(groups, Mapping)
    given = list(groups.values()) if isinstance(groups, Mapping) else list(groups)
    members = tuple(_members(index, group, n_blocks) for index, group in enumerate(given))
    owner: dict[int, int] = {}
    for player, sublayers in enumerate(members):
        for sublayer in sublayers:
            if owner.setdefault(sublayer, player) != player:
                raise ArgumentError(
                    f"{sublayer_name(sublayer)} is in players {owner[sublayer]} and {player}"
                )
    if not members:
        raise ArgumentError("there are no players: give at least one group of sublayers")
    names = tuple(map(str, groups)) if named else tuple(_name(group) for group in members)
    return Players(GROUPS, names, members)


def prune_players(
    players: Players, values: npt.NDArray[np.float64], n: int, keep_in: Keep
) -> npt.NDArray[np.uint8]:
    """Removes the n players with the lowest values, ties the lower index first.

    This is prune_mask_remove_lowest() for groups: a player of which a sublayer is already removed
    is left alone.

    Raises
    ------
    ArgumentError
        Fewer than n players are left.
    """
    whole = [
        player
        for player in np.argsort(values, kind="stable")
        if keep_in[list(players.members[player])].all()
    ]
    if not 0 <= checked_count("n", n, -(2**63)) <= len(whole):
        raise ArgumentError(f"{n} units cannot be removed: there are {len(whole)}")
    keep = np.array(keep_in, dtype=np.uint8)
    for player in whole[:n]:
        keep[list(players.members[player])] = 0
    return keep


def _members(player: int, group: Any, n_blocks: int) -> tuple[int, ...]:
    entries: Iterable[Any] = [group] if isinstance(group, (str, int, np.integer)) else group
    try:
        found = {index for entry in entries for index in _sublayers(entry, n_blocks)}
    except TypeError as error:
        raise ArgumentError(f"player {player} is not a list of sublayers: {error}") from error
    if not found:
        raise ArgumentError(f"player {player} has no sublayer")
    return tuple(sorted(found))


def _sublayers(entry: Any, n_blocks: int) -> list[int]:
    if isinstance(entry, str):
        return [int(index) for index in np.flatnonzero(Mask.remove(entry, n_blocks).keep == 0)]
    index = operator.index(entry)
    if not 0 <= index < 2 * n_blocks:
        raise ArgumentError(f"sublayer {index} is not among 0 to {2 * n_blocks - 1}")
    return [index]


def _name(members: tuple[int, ...]) -> str:
    """Such as "attn.3", "block.3", or "attn.3+ffn.4"."""
    parts: list[str] = []
    left = list(members)
    while left:
        first = left.pop(0)
        if first % 2 == 0 and left and left[0] == first + 1:
            left.pop(0)
            parts.append(f"block.{first // 2}")
        else:
            parts.append(sublayer_name(first))
    return "+".join(parts)
