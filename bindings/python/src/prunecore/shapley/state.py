# SPDX-License-Identifier: Apache-2.0
"""Where a game stands, and what it says so far."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore._native.names.tables import ESTIMATOR

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GameState:
    """Where a game stands.

    Attributes
    ----------
    done : bool
        Whether a bound is met: nothing more will be asked for.
    n_players : int
        Players of the game.
    asked, told, outstanding : int
        Coalitions asked for; worths told; coalitions asked for and not told.
    efficiency_gap : float
        Sum of the values - (worth of all players - worth of none); NaN while one of the two is
        unknown.
    largest_error : float
        Largest standard error; NaN while there is no estimate.
    sublayers_computed, sublayers_naive : int
        Of games that `Model.shapley` played: sublayers applied, and those that it would have taken
        mask by mask.
    estimator : str
        The one in use, never "default".
    """

    done: bool
    n_players: int
    asked: int
    told: int
    outstanding: int
    efficiency_gap: float
    largest_error: float
    sublayers_computed: int
    sublayers_naive: int
    estimator: str

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON; None for NaN and infinity, which JSON lacks."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> GameState:
        """Reads a state from what `to_dict` gives.

        Raises
        ------
        TypeError
            A field is missing, unknown, or of another type.
        """
        found: dict[str, Any] = {
            name: math.nan if value is None else value for name, value in record.items()
        }
        state = cls(**found)
        kinds = {"bool": bool, "int": int, "float": (int, float), "str": str}
        for field in fields(cls):
            if not isinstance(found[field.name], kinds[str(field.type)]):  # type: ignore[arg-type]
                raise TypeError(f"{field.name} is {found[field.name]!r}, but must be {field.type}")
        return state


@dataclass(frozen=True)
class ShapleyValues:
    """What a game says so far.

    Attributes
    ----------
    values : array of float, shape (n_players,)
        What each player adds to the worth.
    standard_errors : array of float, shape (n_players,)
        value +- 1.96 of them covers the exact value in about 95 of 100 cases; 0 where it is exact,
        infinity where there is too little to tell.
    names : tuple of str
        Names of the players.
    state : GameState
        Where the game stood.
    """

    values: Values
    standard_errors: Values
    names: tuple[str, ...]
    state: GameState


def read_state(state: Any) -> GameState:
    """The state that a C struct holds."""
    return GameState(
        done=bool(state.done),
        n_players=state.n_players,
        asked=state.asked,
        told=state.told,
        outstanding=state.outstanding,
        efficiency_gap=state.efficiency_gap,
        largest_error=state.largest_error,
        sublayers_computed=state.sublayers_computed,
        sublayers_naive=state.sublayers_naive,
        estimator=ESTIMATOR.name(state.estimator),
    )
