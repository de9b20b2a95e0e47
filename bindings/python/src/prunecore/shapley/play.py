# SPDX-License-Identifier: Apache-2.0
"""Plays games on models: Shapley values of what a model is made of."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from prunecore._native.library import ffi, lib
from prunecore._native.names.tables import MEASURE, Estimator, Granularity, Measure
from prunecore._native.options_generated import (
    CoalitionArguments,
    GameArguments,
    GameRunArguments,
)
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.run_file import RunFile
from prunecore._native.signatures import takes
from prunecore.errors import ArgumentError, DataError, UnsupportedError
from prunecore.masks.mask import Mask
from prunecore.measures.options import CoalitionOptions
from prunecore.measures.run_record import resumable, run_provenance
from prunecore.shapley.game import Game
from prunecore.shapley.options import GameOptions, GameRunOptions
from prunecore.shapley.players import Players, granularity_players, grouped_players
from prunecore.shapley.scores import ShapleyScores
from prunecore.shapley.state import Values
from prunecore.shapley.watch import GameProgressFunction, watch_game

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


class ShapleyCallArguments(GameArguments, GameRunArguments, CoalitionArguments, total=False):
    """The plain options of `Model.shapley`."""


@takes(GameOptions, GameRunOptions, CoalitionOptions)
def shapley(
    self: OpenModel,
    data: Data,
    measure: Measure = "loss",
    granularity: Granularity = "sublayer",
    *,
    players: Sequence[Any] | Mapping[str, Any] | None = None,
    estimator: Estimator | Literal["default"] = "surrogate",
    cap: float | Literal["default"] | None = "default",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: GameProgressFunction | None = None,
    game: Game | None = None,
    reference: MaskLike | None = None,
    batch_progress: ProgressFunction | None = None,
    **options: Unpack[ShapleyCallArguments],
) -> ShapleyScores:
    """Estimates what each unit of the model adds: its Shapley value.

    The worth of a set of kept units is minus the measure, so that a value is the damage that the
    unit averts; higher = more important. The mask that is set plays no part. What is absent from
    the model is worth nothing, and `prune` leaves it out.

    Parameters
    ----------
    data : Data
        Calibration text.
    measure : str
        Quantity that damage is measured by: see `Model.damages`.
    granularity : {"sublayer", "block", "attention", "feed_forward"}
        The players: units of this kind. All other sublayers are kept in every coalition.
    players : sequence of groups, or mapping of names to groups, optional
        Players of your own, instead of the units of a granularity. A group is a list of "attn.3",
        "ffn.3", "block.3", or indices of sublayers. Sublayers in no group are kept in every
        coalition.
    cap : float, "default" or None
        A measure above it counts as the cap; None = measures as they are. The default is
        ln(vocabulary size) for "loss" and none for others: coalitions that have collapsed say
        nothing about pruning.
    checkpoint : path, optional
        A file that holds the game after every batch. If it exists, the game resumes from it: the
        same call gives the same numbers, however often it was killed before.
    progress : callable, optional
        Called with a `GameProgress` after every batch of coalitions. A true result stops the game
        with `Cancelled`, an exception stops it and is raised again; the checkpoint and `game` can
        be resumed.
    game : Game, optional
        The game to play, or to resume. It says how to estimate, and stays the caller's.
    reference : Mask or array, optional
        The mask whose logits distances are taken to. Default: everything kept.
    batch_progress : callable, optional
        Called as `progress(stage, done, total, seconds)` while a batch is evaluated.

    Raises
    ------
    ArgumentError
        An option is out of range, the players do not fit, or the checkpoint is of another run.
    DataError
        The data do not fit the model, or the worths do not suffice for an estimate.
    """
    n_blocks = self.shape.n_blocks
    if game is not None and checkpoint is not None:
        raise ArgumentError("give a game or a checkpoint, not both")
    who = (
        granularity_players(granularity, n_blocks)
        if players is None
        else grouped_players(players, n_blocks)
    )
    estimation = GameOptions(estimator=estimator, **GameOptions.pick(options))
    measured = CoalitionOptions(
        measure=measure, cap=cap, reference=self._keep(reference), **CoalitionOptions.pick(options)
    )
    run = GameRunOptions(granularity=granularity, **GameRunOptions.pick(options))
    watch = Watch(batch_progress)
    player_of = who.of_sublayers(n_blocks)
    struct = run.new()
    struct.sublayer_players = ffi.from_buffer("int32_t[]", player_of)
    struct.n_sublayer_players = len(player_of)
    coalitions, kept = measured.struct(n_blocks, watch)
    struct.coalitions = coalitions
    played = game or Game(who.names, **estimation.to_dict())
    number = _number_of(cap, MEASURE.parse(measure), self.shape.vocabulary_size)
    provenance = run_provenance(self, data, measured, cap=number, reference=kept)
    if game is None:
        chosen = {**estimation.to_dict(), "estimator": played.state.estimator}
        provenance["options"] = chosen
    file: RunFile | None = None
    if checkpoint is not None:
        own = {
            "player_of_sublayer": player_of.tolist(),
            "batch_coalitions": run.batch_coalitions,
            **provenance["options"],
        }
        file = RunFile(checkpoint, resumable(provenance, measured, own))
        resumed = file.resume(lambda saved: Game.load(saved, who.names))
        if resumed is None:
            file.save(played.save())  # a file that cannot be written is better known now
        else:
            played.close()
            played = resumed
    tell = watch_game(progress, played, file, watch)
    struct.on_batch = tell.callback
    try:
        tell.check(lib.prune_model_shapley(self.handle, data.handle, played.handle, struct))
        present = Mask.remove(self.shape.absent, n_blocks)
        return _scores(played, who, present, provenance)
    finally:
        if game is None:
            played.close()


def _number_of(cap: float | str | None, measure: str, vocabulary: int) -> float | None:
    """The cap in use, for the record; None = none."""
    if cap == "default":
        # A host that evaluates whole masks alone may not say how large its vocabulary is.
        return math.log(vocabulary) if measure == "loss" and vocabulary > 0 else None
    return None if cap is None else float(cap)


def _scores(
    game: Game, who: Players, present: Mask, provenance: Mapping[str, Any]
) -> ShapleyScores:
    found = game.result()
    return ShapleyScores(
        found.values,
        found.standard_errors,
        who,
        present.n_blocks,
        found.state,
        interactions=_if_any(game.interactions),
        strata=_if_any(game.strata),
        mask=present,
        provenance=provenance,
    )


def _if_any(read: Callable[[], Values]) -> Values | None:
    try:
        return read()
    except (UnsupportedError, DataError):  # not of this estimator
        return None
