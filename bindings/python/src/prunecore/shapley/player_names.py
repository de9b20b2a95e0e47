# SPDX-License-Identifier: Apache-2.0
"""Names of players as callers give them, checked."""

from __future__ import annotations

import os
from collections.abc import Sequence

from prunecore._native.numbers import checked_count
from prunecore.errors import ArgumentError


def player_names(players: int | Sequence[str], count: int | None = None) -> tuple[str, ...]:
    """The players' names; those of a number are "player.0" and so on."""
    if isinstance(players, (str, bytes, os.PathLike)):
        raise ArgumentError(f"players is {players!r}, but must be a number or a list of names")
    if isinstance(players, Sequence):
        names = tuple(str(name) for name in players)
        if len(set(names)) < len(names):
            raise ArgumentError("two players have the same name")
    else:
        total = checked_count("players", players, 1, 8192)
        names = tuple(f"player.{index}" for index in range(total))
    if count is not None and len(names) != count:
        raise ArgumentError(f"{len(names)} names for {count} players")
    return names
