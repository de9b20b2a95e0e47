# SPDX-License-Identifier: Apache-2.0
"""Shapley scores: what each unit of a model adds, and how sure that is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.draw import draw
from prunecore._native.given import as_array
from prunecore._native.json_files import read_json_file
from prunecore._native.names.units import parse_only, sublayer_name
from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.importance.ranking import Ranking
from prunecore.importance.scores import Scores
from prunecore.masks.mask import Mask, as_keep
from prunecore.shapley.players import GROUPS, Players, prune_players
from prunecore.shapley.record import SECTION, plain, read_fields
from prunecore.shapley.state import GameState, Values

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Self

    from prunecore.masks.mask import MaskLike


class ShapleyScores(Ranking):
    """What each unit of a model adds to its worth; higher = more important.

    An immutable value. `Model.shapley` makes it.

    Parameters
    ----------
    values, standard_errors : array of float, shape (n_players,)
        As in `ShapleyValues`. Values are in the unit of the measure.
    players : Players
        What the players are.
    n_blocks : int
        Blocks of the model.
    state : GameState
        Where the game stood.
    interactions, strata : array of float, optional
        As of `Game`, where the estimator gives them.
    mask : Mask or array, optional
        The model's own mask: units of which a sublayer is absent from the model are never removed.
        Default: everything is there.
    provenance : mapping, optional
        Where they come from, as JSON values.
    """

    _may_hold_nan = False

    def __init__(
        self,
        values: npt.ArrayLike,
        standard_errors: npt.ArrayLike,
        players: Players,
        n_blocks: int,
        state: GameState,
        *,
        interactions: npt.ArrayLike | None = None,
        strata: npt.ArrayLike | None = None,
        mask: MaskLike | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        count = len(players)
        self._players = players
        self._describe(n_blocks, provenance)
        self._state = state
        keep = as_keep(mask, self._n_blocks)
        self._mask = Mask.all(self._n_blocks) if keep is None else Mask(keep)
        self._values = _frozen("values", values, (count,))
        if not np.isfinite(self._values).all():
            raise ArgumentError("a value is NaN or infinite")
        self._errors = _frozen("standard_errors", standard_errors, (count,))
        self._interactions = _maybe("interactions", interactions, (count, count))
        self._strata = _maybe("strata", strata, (count, count - 1))

    @property
    def values(self) -> Values:
        """What each unit adds, read-only; by how much keeping it lowers the measure."""
        return self._values

    @property
    def standard_errors(self) -> Values:
        """Value +- 1.96 of them covers the exact one in about 95 of 100 cases; read-only."""
        return self._errors

    @property
    def unit_names(self) -> tuple[str, ...]:
        """Names of the units: "attn.3" and "ffn.3", "block.3", or those of the host's groups."""
        return self._players.names

    @property
    def units(self) -> tuple[tuple[str, ...], ...]:
        """The sublayers of each unit."""
        return tuple(
            tuple(sublayer_name(index) for index in members) for members in self._players.members
        )

    @property
    def granularity(self) -> str:
        """What the units are: a granularity, or "players" for the host's groups."""
        return self._players.granularity

    @property
    def state(self) -> GameState:
        """Where the game stood: coalitions told, efficiency gap, sublayers computed."""
        return self._state

    @property
    def metrics(self) -> tuple[str, ...]:
        """The name under which pruning and curves know these scores: "shapley" alone.

        Those of estimators of something else are called after it: "banzhaf", "leave_one_out" and
        "random_subnetworks".
        """
        estimator = self._state.estimator
        if estimator == "pair_differences":
            return ("leave_one_out",)
        others = ("banzhaf", "leave_one_out", "random_subnetworks")
        return (estimator if estimator in others else "shapley",)

    def __getitem__(self, metric: str) -> Values:
        self.chosen_metric(metric)
        return self._values

    def __repr__(self) -> str:
        return (
            f"ShapleyScores({len(self._players)} units, granularity='{self.granularity}', "
            f"estimator='{self._state.estimator}', told={self._state.told})"
        )

    @property
    def has_interactions(self) -> bool:
        """Whether the estimator gave interactions."""
        return self._interactions is not None

    @property
    def has_strata(self) -> bool:
        """Whether there are strata."""
        return self._strata is not None

    def interactions(self) -> Values:
        """The interactions of pairs: see `Game.interactions`.

        Raises
        ------
        UnsupportedError
            The estimator gives none.
        """
        if self._interactions is None:
            raise UnsupportedError(
                f"the estimator {self._state.estimator} gives no interactions: use exact or "
                "pair_differences"
            )
        return self._interactions

    def strata(self) -> Values:
        """The strata D_i(k): see `Game.strata`.

        Raises
        ------
        UnsupportedError
            There are none.
        """
        if self._strata is None:
            raise UnsupportedError("the scores hold no strata")
        return self._strata

    def chosen_metric(self, metric: str | None) -> str:
        """The name of the metric; None, "shapley" and that name are allowed."""
        (name,) = self.metrics
        if metric is None or str(metric).replace("-", "_") in (name, "shapley"):
            return name
        raise ArgumentError(f"there is no metric '{metric}' here, only {name}")

    def as_scores(self) -> Scores:
        """The values as scores like those of the static metrics.

        Raises
        ------
        ArgumentError
            The units are groups of the host, which scores do not know.
        """
        if self.granularity == GROUPS:
            raise ArgumentError("scores of groups of sublayers are not scores of a granularity")
        return Scores(
            {self.metrics[0]: self._values},
            self.granularity,
            self._n_blocks,
            self._mask,
            provenance=self._provenance,
        )

    def removed_granularity(self, only: str | None = None) -> str:
        """What `prune` and `order` remove with this `only`: the units' granularity, or `only`."""
        if self.granularity != GROUPS:
            return self.as_scores().removed_granularity(only)
        if parse_only(only) is not None:
            raise ArgumentError(f"scores of groups of sublayers say nothing about {only} alone")
        return GROUPS

    def order(
        self,
        metric: str | None = None,
        only: Literal["attention", "feed_forward"] | str | None = None,
    ) -> list[str]:
        """Names of the units in the order in which `prune` removes them: see `Scores.order`."""
        name = self.chosen_metric(metric)
        if self.removed_granularity(only) != GROUPS:
            return self.as_scores().order(name, only)
        return [
            self.unit_names[index]
            for index in np.argsort(self._values, kind="stable")
            if self._mask.keep[list(self._players.members[index])].all()
        ]

    def prune(
        self,
        n: int,
        metric: str | None = None,
        *,
        only: Literal["attention", "feed_forward"] | str | None = None,
        mask: MaskLike | None = None,
    ) -> Mask:
        """Removes the n units that add least; ties go to the lower index.

        Parameters and errors are those of `Scores.prune`.
        """
        name = self.chosen_metric(metric)
        if self.removed_granularity(only) != GROUPS:
            return self.as_scores().prune(n, name, only=only, mask=mask)
        start = self._mask.keep if mask is None else as_keep(mask, self._n_blocks, None)
        assert start is not None  # a mask was given
        keep = prune_players(self._players, self._values, n, start)
        return self._pruned(keep, n, name, GROUPS, mask)

    def to_dict(self) -> dict[str, Any]:
        """The scores as JSON values: those of `Scores.to_dict`, and a section "shapley".

        NaN and infinity, which JSON lacks, are None.
        """
        section: dict[str, Any] = {
            "standard_errors": plain(self._errors),
            "state": self._state.to_dict(),
            "players": [list(unit) for unit in self.units],
        }
        if self._interactions is not None:
            section["interactions"] = plain(self._interactions)
        if self._strata is not None:
            section["strata"] = plain(self._strata)
        return {
            "format": self.FORMAT,
            "version": 1,
            "n_blocks": self.n_blocks,
            "granularity": self.granularity,
            "units": list(self.unit_names),
            "removed": self._mask.removed,
            "metrics": {self.metrics[0]: self._values.tolist()},
            SECTION: section,
            "provenance": self.provenance,
        }

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Reads scores from what `to_dict` gives.

        Raises
        ------
        FormatError
            It is something else, or contradicts itself.
        UnsupportedError
            It is of another version.
        """
        with cls._reading(record):
            return cls(**read_fields(record))

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        beside: Scores | None = None,
        metrics: Sequence[str] | None = None,
    ) -> Figure:
        """Draws the values over depth, with bars that cover the exact ones in 95 of 100 cases.

        Parameters
        ----------
        path : path, optional
            Where to save the picture, as its suffix says (.png, .svg, .pdf).
        beside : Scores, optional
            Other scores of the same units, to compare with: a panel for each metric.
        metrics : sequence of str, optional
            Which metrics of `beside`. Default: all.
        """
        return draw("shapley_values", self, beside, metrics, path=path)


def read_scores(path: str | os.PathLike[str]) -> Scores | ShapleyScores:
    """Reads a file of scores, of whichever kind they are."""

    def parse(record: Any) -> Scores | ShapleyScores:
        with_section = isinstance(record, dict) and SECTION in record
        return (ShapleyScores if with_section else Scores).from_dict(record)

    return read_json_file(path, parse)


def _frozen(name: str, given: npt.ArrayLike, shape: tuple[int, ...]) -> Values:
    array = as_array(name, given, np.float64).copy()
    if array.shape != shape:
        raise ArgumentError(f"{name} has shape {array.shape}, but {shape} is needed")
    array.setflags(write=False)
    return array


def _maybe(name: str, given: npt.ArrayLike | None, shape: tuple[int, ...]) -> Values | None:
    return None if given is None else _frozen(name, given, shape)
