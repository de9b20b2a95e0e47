# SPDX-License-Identifier: Apache-2.0
"""Plays games on models: Shapley values of what a model is made of."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from prunecore._estimators import parse_measure
from prunecore._library import ffi, header_version, lib, new_struct
from prunecore._numbers import optional_count
from prunecore._progress import ProgressFunction, Watch
from prunecore.checkpoint import Checkpoint
from prunecore.errors import ArgumentError, DataError, Error, UnsupportedError
from prunecore.game_options import GameOptions
from prunecore.game_state import Values
from prunecore.game_watch import GameProgressFunction, watch_game
from prunecore.mask import Mask, as_keep
from prunecore.players import Players, granularity_players, grouped_players
from prunecore.shapley import Shapley
from prunecore.shapley_scores import ShapleyScores
from prunecore.damages import cap_value, set_coalition_options

if TYPE_CHECKING:
    from prunecore.data import Data
    from prunecore.mask import MaskLike
    from prunecore.model import Model


def shapley(
    self: Model,
    data: Data,
    measure: str = "loss",
    granularity: str = "sublayer",
    players: Sequence[Any] | Mapping[str, Any] | None = None,
    estimator: str = "surrogate",
    budget: int | None = None,
    sublayer_budget: int | None = None,
    target_error: float | None = None,
    least: int | None = None,
    certainty: float = 0.95,
    seed: int = 0,
    cap: float | Literal["default"] | None = "default",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: GameProgressFunction | None = None,
    game: Shapley | None = None,
    *,
    keep_probability: float = 0.5,
    subnetwork_size: int | None = None,
    subnetworks_per_round: int = 10,
    truncation: float = 0.01,
    reference: MaskLike | None = None,
    memory_budget: int | None = None,
    batch_tokens: int | None = None,
    batch_coalitions: int | None = None,
    batch_progress: ProgressFunction | None = None,
) -> ShapleyScores:
    """Estimates what each unit of the model adds: its Shapley value.

    The worth of a set of kept units is minus the measure, so that a value is the damage that the
    unit averts; higher = more important. The model's own mask plays no part.

    Parameters
    ----------
    data : Data
        Calibration text.
    measure : str
        What is measured: see `Model.damages`.
    granularity : {"sublayer", "block", "attention", "feed_forward"}
        Who plays. Sublayers that do not are kept in every coalition.
    players : sequence of groups, or mapping of names to groups, optional
        A grouping of one's own, in place of a granularity. A group is a list of "attn.3", "ffn.3",
        "block.3", or indices of sublayers. Sublayers in no group are kept in every coalition.
    estimator, budget, target_error, least, certainty, seed
        See `Shapley`, as for `keep_probability`, `subnetwork_size`, `subnetworks_per_round` and
        `truncation`.
    sublayer_budget : int, optional
        Sublayers applied at most, each counted once per batch of tokens.
    cap : float, "default" or None
        A measure above it counts as it; None = as they are. The default is ln(vocabulary size) for
        "loss" and none for others: coalitions that have collapsed say nothing about pruning.
    checkpoint : path, optional
        A file that holds the game after every batch. If it is there already, the game goes on from
        it: the same call gives the same numbers, however often it was killed before.
    progress : callable, optional
        Called with a `GameProgress` after every batch of coalitions. A true result stops the game
        with `Cancelled`, an exception stops it and is raised again; the checkpoint and `game` can
        be gone on with.
    game : Shapley, optional
        The game to play, or to go on with; it says how to estimate and stays the caller's.
    reference, memory_budget, batch_tokens
        See `Model.damages`.
    batch_coalitions : int, optional
        Coalitions evaluated together. Default: chosen by the library.
    batch_progress : callable, optional
        Called as `progress(stage, done, total, seconds)` while a batch is evaluated.

    Raises
    ------
    ArgumentError
        An option is out of range, the players do not fit, or the checkpoint is of another run.
    DataError
        The data do not fit the model, or the worths do not do for an estimate.
    """
    n_blocks = self.shape.n_blocks
    if game is not None and checkpoint is not None:
        raise ArgumentError("give a game or a checkpoint, not both")
    who = (
        granularity_players(granularity, n_blocks)
        if players is None
        else grouped_players(players, n_blocks)
    )
    kept = as_keep(reference, n_blocks)
    name = parse_measure(measure)
    watch = Watch(batch_progress)
    player_of = who.of_sublayers(n_blocks)
    options = new_struct("prune_game_run_options")
    options.sublayer_players = ffi.from_buffer("int32_t[]", player_of)
    options.n_sublayer_players = len(player_of)
    options.sublayer_budget = optional_count("sublayer_budget", sublayer_budget)
    options.batch_coalitions = optional_count("batch_coalitions", batch_coalitions)
    coalitions = new_struct("prune_coalition_options")
    options.coalitions = coalitions
    set_coalition_options(
        coalitions, name, cap_value(cap), kept, memory_budget, batch_tokens, watch
    )
    estimation = GameOptions(
        estimator,
        seed,
        budget,
        target_error,
        least,
        certainty,
        keep_probability,
        subnetwork_size,
        subnetworks_per_round,
        truncation,
    )
    played = game or Shapley(who.names, **estimation.to_dict())
    provenance: dict[str, Any] = {
        "library": f"prunecore {header_version()}",
        "model": self.provenance,
        "measure": name,
        "cap": _number_of(cap, name, self.shape.vocabulary_size),
        "reference_removed": [] if kept is None else Mask(kept).removed,
        "data_sha256": data.digest,
        "n_sequences": data.n_sequences,
        "n_tokens": data.n_tokens,
    }
    if game is None:
        chosen = {**estimation.to_dict(), "estimator": played.state.estimator}
        provenance["options"] = chosen
    file: Checkpoint | None = None
    if checkpoint is not None:
        run = _run(provenance, who, n_blocks, batch_tokens, batch_coalitions)
        file = Checkpoint(checkpoint, run)
        saved = file.load()
        if saved is None:
            file.save(played.save())  # a file that cannot be written is better known now
        else:
            played.close()
            played = _continued(file, saved, who)
    tell = watch_game(progress, played, file, watch)
    options.on_batch = tell.callback
    try:
        tell.check(lib.prune_model_shapley(self.handle, data.handle, played.handle, options))
        return _scores(played, who, n_blocks, provenance)
    finally:
        if game is None:
            played.close()


def _number_of(cap: float | str | None, measure: str, vocabulary: int) -> float | None:
    """The cap in use, for the record; None = none."""
    if cap == "default":
        # A host that evaluates whole masks alone may not say how large its vocabulary is.
        return math.log(vocabulary) if measure == "loss" and vocabulary > 0 else None
    return None if cap is None else float(cap)


def _run(
    provenance: Mapping[str, Any],
    who: Players,
    n_blocks: int,
    batch_tokens: int | None,
    batch_coalitions: int | None,
) -> dict[str, Any]:
    """What the numbers of a run depend on: all of this must be the same to go on with it."""
    return {
        "model_config_sha256": provenance["model"]["config_sha256"],
        "compute": provenance["model"]["compute"],
        "data_sha256": provenance["data_sha256"],
        "measure": provenance["measure"],
        "cap": provenance["cap"],
        "reference_removed": provenance["reference_removed"],
        "player_of_sublayer": who.of_sublayers(n_blocks).tolist(),
        "batch_tokens": batch_tokens,
        "batch_coalitions": batch_coalitions,
        **provenance["options"],
    }


def _continued(file: Checkpoint, saved: bytes, who: Players) -> Shapley:
    try:
        return Shapley.load(saved, who.names)
    except Error as error:
        raise type(error)(f"the checkpoint {file.path} cannot be read: {error}") from error


def _scores(
    game: Shapley, who: Players, n_blocks: int, provenance: Mapping[str, Any]
) -> ShapleyScores:
    found = game.result()
    return ShapleyScores(
        found.values,
        found.standard_errors,
        who,
        n_blocks,
        found.state,
        _if_any(game.interactions),
        _if_any(game.strata),
        provenance,
    )


def _if_any(read: Callable[[], Values]) -> Values | None:
    try:
        return read()
    except (UnsupportedError, DataError):  # not of this estimator
        return None
