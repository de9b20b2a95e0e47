# SPDX-License-Identifier: Apache-2.0
"""Searches that make feed-forwards narrower beside removing sublayers: "2ssp" and "narrow"."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from prunecore._native.numbers import checked_count
from prunecore._native.progress import ProgressFunction
from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.importance.neuron_scores import neuron_scores
from prunecore.search.block_parameters import BlockParameters, block_parameters
from prunecore.search.joint_narrowing import Ledger, narrow_jointly
from prunecore.search.narrowed_model import Narrowed, NarrowingRun, present
from prunecore.search.narrowing_call import NarrowingCall
from prunecore.search.narrowing_options import CheckedNarrowing, NarrowingOptions
from prunecore.search.narrowing_path import NarrowingPath
from prunecore.search.options import protected_sublayers
from prunecore.search.result import SearchResult
from prunecore.search.two_stage import Split, split_sparsity, two_stage
from prunecore.search.watch import SearchProgressFunction

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.opened import OpenModel


def narrow(
    model: OpenModel,
    data: Data,
    call: NarrowingCall,
    options: NarrowingOptions,
    progress: SearchProgressFunction | None = None,
    batch_progress: ProgressFunction | None = None,
) -> SearchResult:
    """Runs one of the two: see `Model.search`, and docs/narrowing.md.

    Raises
    ------
    ArgumentError
        An option is out of range or of another strategy, or the budget cannot be met.
    UnsupportedError
        A feed-forward is a mixture of experts; or the model is of a host, or has adapters.
    """
    _check_model(model)
    chosen = options.checked(call.strategy)
    if (chosen.sparsity is None) == (call.parameter_bytes is None):
        raise ArgumentError(f"{call.strategy} takes one bound: give sparsity or parameter_bytes")
    scores = neuron_scores(
        model, data, present(model), progress=batch_progress, batch_tokens=call.batch_tokens
    )
    metric, group = chosen.neuron_metric, chosen.neuron_group
    run = NarrowingRun(model, scores, metric, group, call.batch_tokens, batch_progress)
    path = NarrowingPath(run, call.strategy, progress)
    path.add(run.whole(), None, run.loss(run.whole(), data))
    measured = data if chosen.measured_sequences is None else data[: chosen.measured_sequences]
    if call.strategy == "2ssp":
        state, notes = _two_stage(run, measured, call, chosen, path)
    else:
        state, notes = _jointly(run, data, measured, call, chosen, path)
    provenance = {
        "method": "search",
        "strategy": call.strategy,
        "model": model.provenance,
        "data_sha256": data.digest,
        "n_sequences": data.n_sequences,
        "n_tokens": data.n_tokens,
        "measure": "loss",
        **notes,
        "widths": list(state.widths),
    }
    return path.result(state, run.loss(state, data), provenance)


def _two_stage(
    run: NarrowingRun,
    data: Data,
    call: NarrowingCall,
    chosen: CheckedNarrowing,
    path: NarrowingPath,
) -> tuple[Narrowed, dict[str, Any]]:
    if run.model.shape.absent:
        raise ArgumentError(
            "2ssp splits a sparsity among whole blocks, and this model lacks sublayers already: "
            "use strategy narrow"
        )
    spared = _spared(call, run)
    if spared[1::2].any():
        raise ArgumentError("2ssp narrows every feed-forward alike: protect attention only")
    split = _split(run, Ledger(run), call, chosen)
    state, _ = two_stage(run, split, data, spared, path.add)
    return state, {
        "sparsity": chosen.sparsity,
        "parameter_bytes": call.parameter_bytes,
        "alpha": chosen.alpha,
        "remove_attention": split.attention,
        "neuron_metric": chosen.neuron_metric,
        "measured_sequences": data.n_sequences,
    }


def _split(
    run: NarrowingRun, ledger: Ledger, call: NarrowingCall, chosen: CheckedNarrowing
) -> Split:
    """The split of a sparsity; or the one of a budget, of the least sparsity that meets it."""
    blocks = block_parameters(run.model)
    whole = sum(own.parameters for own in run.model.sublayers)
    attention = call.remove_attention
    if attention is not None:
        attention = checked_count("remove_attention", attention, 0)
    given = {
        "alpha": chosen.alpha,
        "attention": attention,
        "multiple_of": chosen.multiple_of,
    }
    if chosen.sparsity is not None:
        return split_sparsity(blocks, whole, chosen.sparsity, **given)  # type: ignore[arg-type]
    budget = _budget(run, ledger, call, chosen)
    return split_of_bytes(run, ledger, blocks, budget, chosen, attention)


def split_of_bytes(
    run: NarrowingRun,
    ledger: Ledger,
    blocks: list[BlockParameters],
    budget: int,
    chosen: CheckedNarrowing,
    attention: int | None = None,
) -> Split:
    """The split of 2SSP for a budget of bytes: attentions by its formula, the widest that fits.

    Raises
    ------
    ArgumentError
        Blocks differ, or no width fits.
    """
    state = run.whole()
    of_blocks = sum(ledger.sublayers)
    share = (ledger.of(state) - budget) / of_blocks
    number = attention
    if number is None:
        power = (blocks[0].feed_forward / blocks[0].attention) / chosen.alpha
        number = round(len(blocks) * max(share, 0.0) ** power)
    if any(block != blocks[0] for block in blocks) or run.model.shape.absent:
        raise ArgumentError("2ssp is for blocks that are alike, and these are not")
    keep = state.keep.copy()
    keep[0 : 2 * min(number, len(blocks)) : 2] = 0  # any as many: all attentions are alike
    width = blocks[0].width
    while width > 0:
        if ledger.of(replace(state, keep=keep, widths=(width,) * len(blocks))) <= budget:
            return Split(number, width)
        width -= width % chosen.multiple_of or chosen.multiple_of
    raise ArgumentError(
        f"{budget} bytes cannot be met by 2ssp, which removes {number} attention sublayers for it: "
        "no neurons would be left"
    )


def _jointly(
    run: NarrowingRun,
    data: Data,
    measured: Data,
    call: NarrowingCall,
    chosen: CheckedNarrowing,
    path: NarrowingPath,
) -> tuple[Narrowed, dict[str, Any]]:
    if call.remove_attention is not None:
        raise ArgumentError("remove_attention is an option of 2ssp; narrow chooses by the budget")
    ledger = Ledger(run)
    budget = _budget(run, ledger, call, chosen)
    spared = _spared(call, run)
    found, _ = narrow_jointly(
        run,
        ledger,
        budget,
        measured,
        spared=spared,
        rounds=chosen.rounds,
        uniform=chosen.uniform,
        whole_blocks=call.whole_blocks,
        multiple_of=chosen.multiple_of,
        step=path.add,
    )
    candidates = {"joint": (found, run.loss(found, data))}
    other = (
        None if call.whole_blocks or spared.any() else _rival(run, ledger, budget, chosen, measured)
    )
    if other is not None:
        candidates["2ssp"] = (other, run.loss(other, data))
    best = min(candidates, key=lambda name: candidates[name][1])
    if best == "2ssp":
        path.restart(candidates[best][0], candidates[best][1])
    return candidates[best][0], {
        "sparsity": chosen.sparsity,
        "parameter_bytes": budget,
        "granularity": "block" if call.whole_blocks else "sublayer",
        "rounds": chosen.rounds,
        "uniform": chosen.uniform,
        "multiple_of": chosen.multiple_of,
        "neuron_metric": chosen.neuron_metric,
        "neuron_group": chosen.neuron_group,
        "measured_sequences": measured.n_sequences,
        "candidates": {name: loss for name, (_, loss) in candidates.items()},
        "chosen": best,
    }


def _rival(
    run: NarrowingRun, ledger: Ledger, budget: int, chosen: CheckedNarrowing, data: Data
) -> Narrowed | None:
    """What 2SSP as published gives for the same bytes; None if it cannot."""
    blocks = block_parameters(run.model)
    try:
        split = split_of_bytes(run, ledger, blocks, budget, chosen)
    except ArgumentError:
        return None
    spared = np.zeros(2 * len(blocks), dtype=np.uint8)
    return two_stage(run, split, data[:1], spared, metric="norm")[0]


def _budget(
    run: NarrowingRun, ledger: Ledger, call: NarrowingCall, chosen: CheckedNarrowing
) -> int:
    """Bytes of parameters at most."""
    now = ledger.of(run.whole())
    if call.parameter_bytes is not None:
        budget = checked_count("parameter_bytes", call.parameter_bytes, 1)
        if budget >= now:
            raise ArgumentError(
                f"parameter_bytes is {budget}, but the model has no more than {now}"
            )
        return budget
    return now - math.ceil((chosen.sparsity or 0.0) * sum(ledger.sublayers))


def _spared(call: NarrowingCall, run: NarrowingRun) -> Any:
    spared = protected_sublayers(call.protect, run.model.shape.n_blocks)
    return np.zeros(2 * run.model.shape.n_blocks, dtype=np.uint8) if spared is None else spared


def _check_model(model: OpenModel) -> None:
    if model.is_recovered:
        raise UnsupportedError(
            "a model with adapters is not narrowed, since they were made for its weights as they "
            "are: narrow the model without them, and recover it then"
        )
