# SPDX-License-Identifier: Apache-2.0
"""Runs searches on models: what to remove under a budget."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from prunecore._native.library import lib
from prunecore._native.names.metric_facts import METRIC_FACTS, METRICS
from prunecore._native.names.tables import (
    GRANULARITY,
    MEASURE,
    STRATEGY,
    Granularity,
    Measure,
    Strategy,
)
from prunecore._native.numbers import checked_positive
from prunecore._native.options_generated import (
    CoalitionArguments,
    SearchArguments,
    SearchRunArguments,
)
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.run_file import RunFile
from prunecore._native.signatures import takes
from prunecore.errors import ArgumentError
from prunecore.importance.neuron_scores import NeuronMetric
from prunecore.importance.scores import Scores
from prunecore.masks.edits import Edits
from prunecore.masks.mask import Mask
from prunecore.measures.options import CoalitionOptions
from prunecore.measures.run_record import resumable, run_provenance
from prunecore.measures.token_times import TokenTimes, token_times
from prunecore.search.ask_tell import Search
from prunecore.search.narrow import narrow
from prunecore.search.narrowing_call import asked_narrowing
from prunecore.search.narrowing_options import Narrowing, NarrowingArguments, NarrowingOptions
from prunecore.search.options import Protected, ScoresLike, SearchOptions, SearchRunOptions
from prunecore.search.result import SearchResult
from prunecore.search.watch import SearchProgressFunction, watch_search
from prunecore.shapley.scores import ShapleyScores

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


class SearchCallArguments(
    SearchArguments, SearchRunArguments, CoalitionArguments, NarrowingArguments, total=False
):
    """The plain options of `Model.search`."""


@takes(SearchOptions, SearchRunOptions, CoalitionOptions, NarrowingOptions)
def search(
    self: OpenModel,
    data: Data,
    strategy: Strategy | Literal["default"] | Narrowing = "greedy",
    granularity: Granularity = "sublayer",
    *,
    times: TokenTimes | None = None,
    protect: Protected = None,
    start: MaskLike | None = None,
    measure: Measure = "loss",
    metric: str | None = None,
    scores: ScoresLike = None,
    neuron_metric: NeuronMetric | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: SearchProgressFunction | None = None,
    search: Search | None = None,
    cap: float | None = None,
    reference: MaskLike | None = None,
    batch_progress: ProgressFunction | None = None,
    **options: Unpack[SearchCallArguments],
) -> SearchResult:
    """Finds what to remove under a budget.

    The damage of a mask is the measure of the model under it. The model's own mask plays no part.
    The budget consists of the bounds among the options; where there are several, all must hold.
    With 16 sequences of data or more, "evolutionary" evaluates some masks on the first ones alone:
    mix sequences of several kinds.

    "2ssp" and "narrow" make feed-forwards narrower, too: the mask then comes with edits, and is for
    the model that `edited` makes of it. They go by the loss, and take one bound, sparsity or
    parameter_bytes; "narrow" takes whole blocks with granularity "block". See docs/narrowing.md.

    Parameters
    ----------
    data : Data
        Calibration text.
    times : TokenTimes, optional
        Times per token, by which `prefill_ms` and `decode_ms` are counted. Default: `token_times`
        measures them if a bound needs them; they are then part of the provenance, and of the
        checkpoint.
    protect, start
        See `Search`.
    metric : str, optional
        Metric of the scores where the strategy needs scores and is given none. Default: "cosine".
        "window" takes "angular", for blocks, or "leave_one_out_loss", which stands for the damage
        of each run, by whatever measure. Its default is the first where hidden states can be read
        and the measure is the loss; a measure that is named, such as "choice_loss", decides itself.
        With `scores`, which of their metrics.
    scores : Scores, ShapleyScores or array, optional
        Scores to use instead of computing them: see `Search`.
    neuron_metric : {"norm", "contribution"}, optional
        "2ssp", "narrow": score by which neurons stay; see `NeuronScores`. Default: "norm" for
        "2ssp", as published, and "contribution" for "narrow".
    checkpoint : path, optional
        A file that holds the search after every batch. If it exists, the search resumes from it:
        the same call gives the same result, however often it was killed before.
    progress : callable, optional
        Called with a `SearchProgress` after every batch of masks. A true result stops the search
        with `Cancelled`, an exception stops it and is raised again; the checkpoint and `search`
        can be resumed.
    search : Search, optional
        The search to run, or to resume. It says what to remove and how, and stays the caller's.
    cap : float, optional
        Largest damage that counts: a damage above it counts as the cap. Default: no cap.
    reference : Mask or array, optional
        The mask whose logits distances are taken to. Default: everything kept.
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
    asked = asked_narrowing(
        *(strategy, granularity, measure, protect, neuron_metric, options),
        others={
            **{"times": times, "start": start, "metric": metric, "scores": scores, "cap": cap},
            **{"checkpoint": checkpoint, "search": search, "reference": reference},
        },
    )
    if asked is not None:
        return narrow(self, data, *asked, progress, batch_progress)
    n_blocks = self.shape.n_blocks
    chosen = SearchOptions(
        strategy=strategy,  # type: ignore[arg-type]  # the others are narrowings
        granularity=granularity,
        times=times,
        protect=protect,
        start=self._keep(start),
        scores=scores,
        metric=metric,
        **SearchOptions.pick(options),
    )
    measured = CoalitionOptions(
        measure=measure, cap=cap, reference=self._keep(reference), **CoalitionOptions.pick(options)
    )
    run = SearchRunOptions(**SearchRunOptions.pick(options))
    _check_own(search, checkpoint, chosen)
    watch = Watch(batch_progress)
    struct = run.new()
    coalitions, kept = measured.struct(n_blocks, watch)
    struct.coalitions = coalitions
    if metric is not None and scores is None:
        struct.metric = METRIC_FACTS[_checked_metric(chosen)].bit
    number = None if cap is None else checked_positive("cap", cap)
    provenance: dict[str, Any] = {
        "method": "search",
        **run_provenance(self, data, measured, cap=number, reference=kept),
        "metric": _metric_of(chosen, measured, self.shape.can_read_states),
    }
    if isinstance(scores, (Scores, ShapleyScores)):
        provenance["scores"] = scores.provenance
    file: RunFile | None = None
    found = search
    if found is None:
        given = chosen.record(n_blocks)
        if checkpoint is not None:
            own = {"metric": provenance["metric"], **run.to_dict(), **given}
            file = RunFile(checkpoint, resumable(provenance, measured, own))
            found = file.resume(Search.load)
            if "times" in file.notes:
                given["budget"]["times"] = file.notes["times"]
        if found is None:
            notes = {}
            if chosen.needs_times:
                chosen = replace(chosen, times=token_times(self, progress=batch_progress))
                notes = {"times": chosen.budget()["times"]}
                given["budget"] |= notes
            found = Search._from_options(self, chosen)
            if file is not None:
                file.notes = notes
                file.save(found.save())  # a file that cannot be written is better known now
        given["strategy"] = found.state.strategy
        provenance.update(given)
    else:
        provenance["strategy"] = found.state.strategy
    tell = watch_search(progress, found, file, watch)
    struct.on_batch = tell.callback
    try:
        tell.check(lib.prune_model_search(self.handle, data.handle, found.handle, struct))
        return _result(found, provenance, self.edits)
    finally:
        if search is None:
            found.close()


def _check_own(
    search: Search | None, checkpoint: str | os.PathLike[str] | None, options: SearchOptions
) -> None:
    if search is not None and (checkpoint is not None or options.budget()):
        raise ArgumentError("give a search, or a budget and a checkpoint: a search has its own")


def _uses_scores(options: SearchOptions) -> bool:
    """Whether the strategy goes by scores."""
    strategy = STRATEGY.parse(options.strategy)
    return strategy in ("one_shot", "window") or options.candidates is not None


def _checked_metric(options: SearchOptions) -> str:
    name = str(options.metric).strip().replace("-", "_")
    if name not in METRICS:
        known = ", ".join(METRICS)
        raise ArgumentError(f"unknown metric '{options.metric}': the metrics are {known}")
    if not _uses_scores(options):
        raise ArgumentError(
            f"metric is {name}, but {STRATEGY.parse(options.strategy)} searches use no scores "
            "(greedy ones only with candidates)"
        )
    return name


def _metric_of(
    options: SearchOptions, measured: CoalitionOptions, reads_states: bool
) -> str | None:
    """What units are scored by, for the record; None where no metric of ours plays a part."""
    if isinstance(options.scores, (Scores, ShapleyScores)):
        return options.scores.chosen_metric(options.metric)
    if options.scores is not None or not _uses_scores(options):
        return None
    if options.metric is not None:
        return _checked_metric(options)
    if STRATEGY.parse(options.strategy) != "window":
        return "cosine"
    of_blocks = GRANULARITY.parse(options.granularity) == "block"
    by_loss = MEASURE.parse(measured.measure) == "loss"
    return "angular" if of_blocks and by_loss and reads_states else None


def _result(found: Search, provenance: Mapping[str, Any], edits: Edits) -> SearchResult:
    state = found.state
    record = {
        **provenance,
        "units_removed": state.removed,
        "damage": state.to_dict()["damage"],
        "met": state.met,
    }
    return SearchResult(
        mask=Mask(found.mask, record, edits), path=found.path, state=state, provenance=record
    )
