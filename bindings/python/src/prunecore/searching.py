# SPDX-License-Identifier: Apache-2.0
"""Runs searches on models: what to remove under a budget."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prunecore._estimators import parse_measure
from prunecore._library import header_version, lib, new_struct
from prunecore._metrics import METRICS, metric_bit, parse_granularity
from prunecore._numbers import checked_positive, optional_count
from prunecore._progress import ProgressFunction, Watch
from prunecore._strategies import parse_strategy
from prunecore.checkpoint import Checkpoint
from prunecore.errors import ArgumentError, Error
from prunecore.mask import Mask, as_keep
from prunecore.scores import Scores
from prunecore.search import Search
from prunecore.search_budget import SearchBudget
from prunecore.search_options import Protected, ScoresLike, SearchOptions
from prunecore.search_result import SearchResult
from prunecore.search_watch import SearchProgressFunction, watch_search
from prunecore.shapley_scores import ShapleyScores
from prunecore.token_times import TokenTimes
from prunecore.damages import cap_value, set_coalition_options

if TYPE_CHECKING:
    from prunecore.data import Data
    from prunecore.mask import MaskLike
    from prunecore.model import Model


def search(
    self: Model,
    data: Data,
    strategy: str = "greedy",
    granularity: str = "sublayer",
    *,
    remove: int | None = None,
    remove_attention: int | None = None,
    remove_feed_forward: int | None = None,
    remove_parameters: float | None = None,
    parameter_bytes: int | None = None,
    kv_bytes: int | None = None,
    prefill_ms: float | None = None,
    decode_ms: float | None = None,
    times: TokenTimes | None = None,
    max_loss_increase: float | None = None,
    max_damage: float | None = None,
    protect: Protected = None,
    start: MaskLike | None = None,
    measure: str = "loss",
    metric: str | None = None,
    scores: ScoresLike = None,
    candidates: int | None = None,
    exchanges: int | None = None,
    seed: int = 0,
    offspring: int | None = None,
    generations: int | None = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: SearchProgressFunction | None = None,
    search: Search | None = None,
    cap: float | None = None,
    reference: MaskLike | None = None,
    memory_budget: int | None = None,
    batch_tokens: int | None = None,
    batch_masks: int | None = None,
    batch_progress: ProgressFunction | None = None,
) -> SearchResult:
    """Finds what to remove under a budget.

    The damage of a mask is the measure of the model under it. The model's own mask plays no part.

    Parameters
    ----------
    data : Data
        Calibration text.
    strategy, granularity, protect, start, candidates, exchanges, seed, offspring, generations, \
patience
        See `Search`. With 16 sequences of data or more, "evolutionary" uses the first ones alone,
        too: mix sequences of several kinds.
    remove, remove_attention, remove_feed_forward, remove_parameters, parameter_bytes, kv_bytes, \
prefill_ms, decode_ms, max_loss_increase, max_damage
        The budget: see `Search`. Where there are several, all must hold.
    times : TokenTimes, optional
        What milliseconds are counted by. Default: `token_times`, if a bound needs them; they are
        then part of the provenance, and of the checkpoint.
    measure : str
        What is measured: see `Model.damages`.
    metric : str, optional
        What units are scored by where the strategy needs scores and is given none. Default:
        "cosine". "window" takes "angular", of blocks, or "leave_one_out_loss", which stands for the
        damage of each run; its default is the first where it can be had. With `scores`, which of
        their metrics.
    scores : Scores, ShapleyScores or array, optional
        Scores that are there already: see `Search`.
    checkpoint : path, optional
        A file that holds the search after every batch. If it is there already, the search goes on
        from it: the same call gives the same result, however often it was killed before.
    progress : callable, optional
        Called with a `SearchProgress` after every batch of masks. A true result stops the search
        with `Cancelled`, an exception stops it and is raised again; the checkpoint and `search` can
        be gone on with.
    search : Search, optional
        The search to run, or to go on with; it says what to remove and how, and stays the caller's.
    cap : float, optional
        A damage above it counts as it. Default: damages as they are.
    reference, memory_budget, batch_tokens
        See `Model.damages`.
    batch_masks : int, optional
        Masks evaluated together at most. Default: 64.
    batch_progress : callable, optional
        Called as `progress(stage, done, total, seconds)` while a batch is evaluated, units are
        scored, or times are measured.

    Raises
    ------
    ArgumentError
        An option is out of range or of another strategy, the budget cannot be met, or the
        checkpoint is of another run.
    DataError
        The data do not fit the model.
    """
    n_blocks = self.shape.n_blocks
    budget = SearchBudget(
        remove,
        remove_attention,
        remove_feed_forward,
        remove_parameters,
        parameter_bytes,
        kv_bytes,
        prefill_ms,
        decode_ms,
        times,
        max_loss_increase,
        max_damage,
    )
    chosen = SearchOptions(
        strategy,
        granularity,
        budget,
        protect,
        start,
        scores,
        metric,
        candidates,
        exchanges,
        seed,
        offspring,
        generations,
        patience,
    )
    if search is not None and (checkpoint is not None or budget.to_dict()):
        raise ArgumentError("give a search, or a budget and a checkpoint: a search has its own")
    kept = as_keep(reference, n_blocks)
    name = parse_measure(measure)
    watch = Watch(batch_progress)
    options = new_struct("prune_search_run_options")
    coalitions = new_struct("prune_coalition_options")
    options.coalitions = coalitions
    set_coalition_options(
        coalitions, name, cap_value(cap), kept, memory_budget, batch_tokens, watch
    )
    if metric is not None and scores is None:
        options.metric = metric_bit(_checked_metric(chosen))
    options.batch_masks = optional_count("batch_masks", batch_masks)
    provenance: dict[str, Any] = {
        "method": "search",
        "library": f"prunecore {header_version()}",
        "model": self.provenance,
        "measure": name,
        "cap": None if cap is None else checked_positive("cap", cap),
        "reference_removed": [] if kept is None else Mask(kept).removed,
        "metric": _metric_of(chosen, self.shape.can_read_states),
        "data_sha256": data.digest,
        "n_sequences": data.n_sequences,
        "n_tokens": data.n_tokens,
    }
    if isinstance(scores, (Scores, ShapleyScores)):
        provenance["scores"] = scores.provenance
    file: Checkpoint | None = None
    found = search
    if found is None:
        given = chosen.to_dict(n_blocks)
        if checkpoint is not None:
            file = Checkpoint(checkpoint, _run(provenance, given, batch_tokens, batch_masks))
            found = _continued(file)
            if "times" in file.notes:
                given["budget"]["times"] = file.notes["times"]
        if found is None:
            if budget.needs_times:
                measured = self.token_times(progress=batch_progress)
                chosen = replace(chosen, budget=replace(budget, times=measured))
                given["budget"]["times"] = measured.to_dict()
            found = Search._from_options(self, chosen)
            if file is not None:
                file.notes = {"times": given["budget"]["times"]} if budget.needs_times else {}
                file.save(found.save())  # a file that cannot be written is better known now
        given["strategy"] = found.state.strategy
        provenance.update(given)
    else:
        provenance["strategy"] = found.state.strategy
    tell = watch_search(progress, found, file, watch)
    options.on_batch = tell.callback
    try:
        tell.check(lib.prune_model_search(self.handle, data.handle, found.handle, options))
        return _result(found, provenance)
    finally:
        if search is None:
            found.close()


def _uses_scores(options: SearchOptions) -> bool:
    """Whether the strategy goes by scores."""
    strategy = parse_strategy(options.strategy)
    return strategy in ("one_shot", "window") or options.candidates is not None


def _checked_metric(options: SearchOptions) -> str:
    name = str(options.metric).strip().replace("-", "_")
    if name not in METRICS:
        known = ", ".join(METRICS)
        raise ArgumentError(f"unknown metric '{options.metric}': the metrics are {known}")
    if not _uses_scores(options):
        raise ArgumentError(
            f"metric is {name}, but {parse_strategy(options.strategy)} searches use no scores "
            "(greedy ones only with candidates)"
        )
    return name


def _metric_of(options: SearchOptions, reads_states: bool) -> str | None:
    """What units are scored by, for the record; None where no metric of ours plays a part."""
    if isinstance(options.scores, (Scores, ShapleyScores)):
        return options.scores.chosen_metric(options.metric)
    if options.scores is not None or not _uses_scores(options):
        return None
    if options.metric is not None:
        return _checked_metric(options)
    if parse_strategy(options.strategy) != "window":
        return "cosine"
    of_blocks = parse_granularity(options.granularity) == "block"
    return "angular" if of_blocks and reads_states else None


def _run(
    provenance: Mapping[str, Any],
    given: Mapping[str, Any],
    batch_tokens: int | None,
    batch_masks: int | None,
) -> dict[str, Any]:
    """What the numbers of a run depend on: all of this must be the same to go on with it."""
    return {
        "model_config_sha256": provenance["model"]["config_sha256"],
        "compute": provenance["model"]["compute"],
        "data_sha256": provenance["data_sha256"],
        "measure": provenance["measure"],
        "cap": provenance["cap"],
        "reference_removed": provenance["reference_removed"],
        "metric": provenance["metric"],
        "batch_tokens": batch_tokens,
        "batch_masks": batch_masks,
        **given,
    }


def _continued(file: Checkpoint) -> Search | None:
    """The search that a checkpoint holds; None if there is no file."""
    saved = file.load()
    if saved is None:
        return None
    try:
        return Search.load(saved)
    except Error as error:
        raise type(error)(f"the checkpoint {file.path} cannot be read: {error}") from error


def _result(found: Search, provenance: Mapping[str, Any]) -> SearchResult:
    state = found.state
    record = {
        **provenance,
        "units_removed": state.removed,
        "damage": state.to_dict()["damage"],
        "met": state.met,
    }
    return SearchResult(Mask(found.mask, record), found.path, state, record)
