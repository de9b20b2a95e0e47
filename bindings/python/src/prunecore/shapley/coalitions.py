# SPDX-License-Identifier: Apache-2.0
"""Players, coalitions and worths as callers give them, checked and made ready for C."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from prunecore._native.numbers import checked_count
from prunecore.errors import ArgumentError
from prunecore.shapley.state import Values


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


def told_worths(
    masks: npt.ArrayLike,
    values: npt.ArrayLike,
    players: int,
    nouns: tuple[str, str] = ("coalition", "worth"),
) -> tuple[npt.NDArray[np.uint8], Values]:
    """Coalitions and worths as C takes them; errors call them by `nouns`."""
    mask, value = nouns
    try:
        rows = np.asarray(masks)
        worths = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"the {mask}s and their {value}s are not numbers: {error}") from error
    if rows.ndim == 1 and worths.ndim == 0:
        rows, worths = rows[np.newaxis], worths[np.newaxis]
    if rows.ndim != 2 or rows.shape[1] != players or worths.shape != (len(rows),):
        raise ArgumentError(
            f"the {mask}s have shape {rows.shape} and the {value}s {worths.shape}, but (m, "
            f"{players}) and (m,) are needed"
        )
    if rows.dtype.kind not in "buif" or not np.all((rows == 0) | (rows == 1)):
        raise ArgumentError(f"the entries of a {mask} are 0 (absent) or 1 (present)")
    return np.ascontiguousarray(rows, dtype=np.uint8), np.ascontiguousarray(worths)
