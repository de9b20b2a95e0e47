# SPDX-License-Identifier: Apache-2.0
"""Carries the progress of a game from C to Python and to its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore._library import ffi
from prunecore._progress import Watch
from prunecore.checkpoint import Checkpoint
from prunecore.game_state import GameState, Values, read_state
from prunecore.shapley import Shapley


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


class GameWatch:
    """The callback of a game: saves it, tells of it, and carries exceptions back.

    Parameters
    ----------
    progress : callable or None
        Told of the game after every batch.
    game : Shapley
        The game that is played.
    checkpoint : Checkpoint or None
        Where it is saved after every batch.
    inner : Watch
        The callback of the batches, which may have failed, too.
    """

    def __init__(
        self,
        progress: GameProgressFunction | None,
        game: Shapley,
        checkpoint: Checkpoint | None,
        inner: Watch,
    ) -> None:
        self._progress = progress
        self._game = game
        self._checkpoint = checkpoint
        self._inner = inner
        self._failure: BaseException | None = None
        self.callback = ffi.callback(
            "prune_game_progress_fn", self._step, error=1, onerror=self._keep
        )

    def _step(self, _user_data: Any, report: Any) -> int:
        if self._checkpoint is not None:
            self._checkpoint.save(self._game.save())
        if self._progress is None:
            return 0
        count = self._game.players
        known = bool(report.has_estimate)
        found = GameProgress(
            values=_copied(report.values, count) if known else None,
            standard_errors=_copied(report.standard_errors, count) if known else None,
            state=read_state(report.state),
            seconds=report.seconds,
        )
        return 1 if self._progress(found) else 0

    def _keep(self, _kind: Any, value: BaseException, traceback: Any) -> None:
        self._failure = value.with_traceback(traceback)

    def check(self, status: int) -> None:
        """Raises what stopped the game: a callback's exception, or else the status's."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._inner.check(status)


def _copied(pointer: Any, count: int) -> npt.NDArray[np.float64]:
    size = count * ffi.sizeof("double")
    return np.frombuffer(ffi.buffer(pointer, size), dtype=np.float64).copy()
