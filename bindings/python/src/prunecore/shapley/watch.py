# SPDX-License-Identifier: Apache-2.0
"""What is told of a game that a model plays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore._native.batch_watch import BatchWatch
from prunecore._native.library import ffi
from prunecore._native.progress import Watch
from prunecore._native.run_file import RunFile
from prunecore.shapley.game import Game
from prunecore.shapley.state import GameState, Values, read_state


@dataclass(frozen=True)
class GameProgress:
    """How a game of a model stands after a batch of coalitions.

    Attributes
    ----------
    values, standard_errors : array of float, shape (n_players,), or None
        The estimate; None as long as there is too little for one.
    state : GameState
        Where the game stands.
    seconds : float
        Since the call began.
    """

    values: Values | None
    standard_errors: Values | None
    state: GameState
    seconds: float


GameProgressFunction = Callable[[GameProgress], object]
"""Called as `progress(found)`; a true result stops the game."""


def watch_game(
    progress: GameProgressFunction | None,
    game: Game,
    checkpoint: RunFile | None,
    inner: Watch,
) -> BatchWatch:
    """The callback of a game: see `BatchWatch`."""
    count = game.players

    def found(report: Any) -> GameProgress:
        known = bool(report.has_estimate)
        return GameProgress(
            values=_copied(report.values, count) if known else None,
            standard_errors=_copied(report.standard_errors, count) if known else None,
            state=read_state(report.state),
            seconds=report.seconds,
        )

    return BatchWatch(
        "prune_game_progress_fn",
        game.save,
        found=found,
        progress=progress,
        checkpoint=checkpoint,
        inner=inner,
    )


def _copied(pointer: Any, count: int) -> npt.NDArray[np.float64]:
    size = count * ffi.sizeof("double")
    made: npt.NDArray[np.float64] = np.frombuffer(ffi.buffer(pointer, size), np.float64).copy()
    return made
