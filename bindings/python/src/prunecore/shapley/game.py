# SPDX-License-Identifier: Apache-2.0
"""Games: what each player adds, from the worths of some coalitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.handle import Handle, Owner
from prunecore._native.library import _check, ffi, lib, new_struct
from prunecore._native.numbers import checked_count, checked_positive
from prunecore._native.signatures import takes
from prunecore.errors import ArgumentError
from prunecore.shapley.coalitions import player_names, told_worths
from prunecore.shapley.options import GameOptions
from prunecore.shapley.state import GameState, ShapleyValues, Values, read_state

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from prunecore._native.names.tables import Estimator
    from prunecore._native.options_generated import GameArguments

ASKED_BYTES = 1 << 24
"""Coalitions are fetched in pieces of this size, however many are asked for."""


@takes(GameOptions)
class Game(Owner):
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

    def __init__(
        self,
        players: int | Sequence[str],
        estimator: Estimator | Literal["default"] = "surrogate",
        **options: Unpack[GameArguments],
    ) -> None:
        names = player_names(players)
        struct = GameOptions(estimator=estimator, **options).new()
        self._begin(
            lambda out: int(lib.prune_game_create(len(names), struct, out)), lambda _: names
        )

    def _begin(self, make: Any, names: Any) -> None:
        self._handle = Handle("game", "prune_game", make, lib.prune_game_release)
        self._players = self.state.n_players
        self._names: tuple[str, ...] = names(self._players)

    def __repr__(self) -> str:
        if self.closed:
            return f"Game(players={self._players}, closed)"
        state = self.state
        return f"Game(players={self._players}, '{state.estimator}', told={state.told})"

    @property
    def players(self) -> int:
        """How many players there are."""
        return self._players

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
        left = checked_count("most", most, 0)
        piece = max(1, ASKED_BYTES // self._players)
        found: list[npt.NDArray[np.uint8]] = []
        count = ffi.new("size_t *")
        while left > 0:
            rows = np.empty((min(left, piece), self._players), dtype=np.uint8)
            out = ffi.from_buffer("uint8_t[]", rows)
            _check(lib.prune_game_ask(self.handle, len(rows), out, count))
            found.append(rows[: int(count[0])])
            left -= int(count[0])
            if int(count[0]) < len(rows):
                break
        if not found:
            self.handle  # noqa: B018  raises if the game is closed
            return np.empty((0, self._players), dtype=np.bool_)
        return np.concatenate(found).astype(np.bool_)

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
        rows, worths = told_worths(masks, values, self._players)
        _check(
            lib.prune_game_tell(
                self.handle,
                ffi.from_buffer("uint8_t[]", rows),
                ffi.from_buffer("double[]", worths),
                len(worths),
            )
        )

    def result(self) -> ShapleyValues:
        """Reads the estimate.

        Raises
        ------
        DataError
            What was told does not do for one; the text says what is missing.
        """
        values = np.empty(self._players)
        errors = np.empty(self._players)
        _check(
            lib.prune_game_result(
                self.handle,
                ffi.from_buffer("double[]", values),
                ffi.from_buffer("double[]", errors),
                self._players,
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
        return self._table(lib.prune_game_strata, self._players - 1)

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
        return self._table(lib.prune_game_interactions, self._players)

    def _table(self, function: Any, columns: int) -> Values:
        table = np.empty((self._players, columns))
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
        values = np.empty(self._players)
        out = ffi.from_buffer("double[]", values)
        _check(lib.prune_game_banzhaf(self.handle, chance, out, self._players, ffi.NULL))
        return values

    def save(self) -> bytes:
        """The game as bytes: versioned, checksummed, the same on every machine.

        Coalitions that are outstanding are asked for again after loading.
        """
        needed = ffi.new("size_t *")
        status = lib.prune_game_save(self.handle, ffi.NULL, 0, needed)
        if status != lib.PRUNE_ERR_BUFFER:
            _check(status)
        out = ffi.new("uint8_t[]", needed[0])
        _check(lib.prune_game_save(self.handle, out, needed[0], needed))
        return bytes(ffi.buffer(out, needed[0]))

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
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise ArgumentError(f"a saved game is bytes, but this is {type(data).__name__}")
        given = bytes(data)
        game = cls.__new__(cls)
        game._begin(
            lambda out: int(lib.prune_game_load(ffi.from_buffer(given), len(given), out)),
            lambda count: player_names(count if players is None else players, count),
        )
        return game

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded, (type(self), self.save(), self._names)


def _loaded(kind: type[Game], data: bytes, names: tuple[str, ...]) -> Game:
    return kind.load(data, names)
