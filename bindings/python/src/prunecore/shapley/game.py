# SPDX-License-Identifier: Apache-2.0
"""Games: what each player adds, from the worths of some coalitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.ask_tell import AskTell, AskTellCalls
from prunecore._native.library import _check, ffi, lib, new_struct
from prunecore._native.numbers import checked_positive
from prunecore._native.signatures import takes
from prunecore.shapley.options import GameOptions
from prunecore.shapley.player_names import player_names
from prunecore.shapley.state import GameState, ShapleyValues, Values, read_state

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from prunecore._native.names.tables import Estimator
    from prunecore._native.options_generated import GameArguments


@takes(GameOptions)
class Game(AskTell):
    """A game under way: it asks for the worths of coalitions, is told them, and estimates.

    Coalitions can be evaluated anywhere and told in any order: the same seed and the same worths
    give the same estimate.

        game = pc.Game(24, "surrogate", budget=512)
        while not game.done:
            masks = game.ask(64)
            game.tell(masks, my_worths(masks))

    A game belongs to one thread at a time.

    Parameters
    ----------
    players : int or sequence of str
        How many players there are (1 to 8192), or their names.

    Raises
    ------
    ArgumentError
        An option is out of range, or unknown.
    """

    _calls = AskTellCalls(
        noun="game",
        row="coalition",
        value="worth",
        ask=lib.prune_game_ask,
        tell=lib.prune_game_tell,
        save=lib.prune_game_save,
        load=lib.prune_game_load,
        release=lib.prune_game_release,
    )
    _names: tuple[str, ...]

    def __init__(
        self,
        players: int | Sequence[str],
        estimator: Estimator | Literal["default"] = "surrogate",
        **options: Unpack[GameArguments],
    ) -> None:
        names = player_names(players)
        struct = GameOptions(estimator=estimator, **options).new()
        self._begin(lambda out: int(lib.prune_game_create(len(names), struct, out)))
        self._names = names

    def _row_width(self) -> int:
        return self.state.n_players

    def __repr__(self) -> str:
        if self.closed:
            return f"Game(players={self.players}, closed)"
        state = self.state
        return f"Game(players={self.players}, '{state.estimator}', told={state.told})"

    @property
    def players(self) -> int:
        """How many players there are."""
        return self._width

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the players."""
        return self._names

    @property
    def state(self) -> GameState:
        """Where the game stands."""
        state = new_struct("prune_game_state")
        _check(lib.prune_game_info(self.handle, state))
        return read_state(state)

    @property
    def done(self) -> bool:
        """Whether a bound is met: nothing more will be asked for."""
        return self.state.done

    @property
    def efficiency_gap(self) -> float:
        """Sum of the values - (worth of all players - worth of none); NaN while unknown."""
        return self.state.efficiency_gap

    def ask(self, most: int) -> npt.NDArray[np.bool_]:
        """Asks for coalitions whose worth is wanted next.

        Parameters
        ----------
        most : int
            Coalitions at most.

        Returns
        -------
        array of bool, shape (m, players)
            m <= most; True = in the coalition. There are none if the game is done, or waits for
            worths that it asked for before.
        """
        return self._ask(most)

    def tell(self, masks: npt.ArrayLike, values: npt.ArrayLike) -> None:
        """Tells worths of coalitions that were asked for, in any order.

        All of them are taken in or, on error, none.

        Parameters
        ----------
        masks : array of bool, or of 0 and 1, shape (m, players)
            The coalitions; or a single one, of shape (players,).
        values : array of float, shape (m,)
            Their worths, higher = better; or a number.

        Raises
        ------
        ArgumentError
            A coalition was never asked for, or was told before, or a shape is wrong.
        NonFiniteError
            A worth is NaN or infinite.
        """
        self._tell(masks, values)

    def result(self) -> ShapleyValues:
        """Reads the estimate.

        Raises
        ------
        DataError
            What was told does not do for one; the text says what is missing.
        """
        values = np.empty(self.players)
        errors = np.empty(self.players)
        _check(
            lib.prune_game_result(
                self.handle,
                ffi.from_buffer("double[]", values),
                ffi.from_buffer("double[]", errors),
                self.players,
                ffi.NULL,
            )
        )
        return ShapleyValues(
            values=values, standard_errors=errors, names=self._names, state=self.state
        )

    @property
    def values(self) -> Values:
        """What each player adds to the worth: see `result`."""
        return self.result().values

    @property
    def standard_errors(self) -> Values:
        """How sure the values are: see `result`."""
        return self.result().standard_errors

    def strata(self) -> Values:
        """The strata D_i(k) as they were told.

        D_i(k) = E[v(S) | i in S, |S| = k] - E[v(S) | i not in S, |S| = k]. The Shapley value of i
        is (v(all) - v(none)) / n + the sum of row i / n.

        Returns
        -------
        array of float, shape (players, players - 1)
            Row i, column k - 1; NaN where either mean has no coalition.
        """
        return self._table(lib.prune_game_strata, self.players - 1)

    def interactions(self) -> Values:
        """The interactions of pairs, symmetric, 0 on the diagonal.

        After "exact", the Shapley interaction index of order 2; after "pair_differences", v(all) -
        v(all but i) - v(all but j) + v(all but both).

        Returns
        -------
        array of float, shape (players, players)

        Raises
        ------
        UnsupportedError
            The estimator is another one.
        """
        return self._table(lib.prune_game_interactions, self.players)

    def _table(self, function: Any, columns: int) -> Values:
        table = np.empty((self.players, columns))
        _check(function(self.handle, ffi.from_buffer("double[]", table), table.size, ffi.NULL))
        return table

    def banzhaf(self, keep_probability: float = 0.5) -> Values:
        """The exact weighted Banzhaf values, after "exact".

        Parameters
        ----------
        keep_probability : float
            Each other player is in the coalition with this probability.

        Raises
        ------
        UnsupportedError
            The estimator is another one.
        """
        chance = checked_positive("keep_probability", keep_probability, below=1)
        values = np.empty(self.players)
        out = ffi.from_buffer("double[]", values)
        _check(lib.prune_game_banzhaf(self.handle, chance, out, self.players, ffi.NULL))
        return values

    @classmethod
    def load(cls, data: bytes, players: Sequence[str] | None = None) -> Self:
        """Loads a saved game.

        Parameters
        ----------
        data : bytes
            What `save` gave.
        players : sequence of str, optional
            Names of the players, which are not saved.

        Raises
        ------
        FormatError
            The bytes are damaged, or no saved game.
        UnsupportedError
            They were written by a later version.
        """
        game = cls._loaded(data)
        game._names = player_names(game.players if players is None else players, game.players)
        return game

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).load, (self.save(), self._names)
