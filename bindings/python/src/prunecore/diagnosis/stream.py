# SPDX-License-Identifier: Apache-2.0
"""The residual stream of a model, walked from its end to its start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore._native.progress import ProgressFunction
from prunecore.diagnosis.moments import Variance
from prunecore.diagnosis.pullback import Gradients, Pullback, pulls_agree
from prunecore.diagnosis.stages import Stage
from prunecore.measures.token_values import hidden_states

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import Keep
    from prunecore.opened import OpenModel

Values = npt.NDArray[np.float64]

_STATE_BYTES = 1 << 25
"""Of the states of one place that are held together, unless a single sequence has more."""


@dataclass(frozen=True)
class Stream:
    """What was found on the residual stream. S sublayers; NaN where a model has no such place.

    Attributes
    ----------
    states, token_states : array, shape (S + 1,)
        Variance of the hidden state before each sublayer and after the last: over all tokens and
        channels; over the channels of one token, the median of the tokens.
    updates, token_updates : array, shape (S,)
        The same of each sublayer's update.
    gradients : Gradients or None
        None = not asked for.
    """

    states: Values
    token_states: Values
    updates: Values
    token_updates: Values
    gradients: Gradients | None


def walk_stream(
    model: OpenModel,
    data: Data,
    keep: Keep,
    *,
    with_gradients: bool,
    batch_tokens: int | None,
    progress: ProgressFunction | None,
) -> Stream:
    """Measures the hidden states of every place, and, if asked, the gradients there.

    States are read one after the other, each by a pass up to its sublayer, the last one first: so
    two of them are held, however deep the model is, and a gradient meets each state on its way.

    Parameters
    ----------
    model, data, keep
        What is measured, on what, under which mask.
    with_gradients : bool
        The model must then have some.
    batch_tokens, progress
        As for `Model.score`.
    """
    last = len(keep)
    # A model of whole blocks has no state between attention and feed-forward.
    step = 1 if model.shape.removes_sublayers else 2
    states = [Variance() for _ in range(last + 1)]
    updates = [Variance() for _ in range(last)]
    pullback = None
    if with_gradients:
        pullback = Pullback(
            model, keep, is_chained=pulls_agree(model, data, keep), batch_tokens=batch_tokens
        )
    parts = list(_parts(data, model.shape.hidden_size))
    work = sum(1 + place for place in range(0, last + 1, step))
    whole = len(parts) * (work + (pullback.work if pullback else 0.0))
    stage = Stage(progress, "variances and gradients" if pullback else "variances", whole)
    for part in parts:

        def read(place: int, part: Data = part) -> npt.NDArray[np.float32]:
            tell = stage.part(1 + place)
            return hidden_states(model, part, place, keep, batch_tokens=batch_tokens, progress=tell)

        after = read(last)
        states[last].add(after)
        if pullback:
            pullback.begin(part, stage)
        for place in range(last - step, -1, -step):
            before = read(place)
            states[place].add(before)
            if keep[place : place + step].any():
                updates[place].add(np.subtract(after, before, dtype=np.float64))
            if pullback:
                pullback.step(part, place, before, stage)
            after = before
    return Stream(
        states=np.array([each.of_all for each in states]),
        token_states=np.array([each.of_one_token for each in states]),
        updates=np.array([each.of_all for each in updates]),
        token_updates=np.array([each.of_one_token for each in updates]),
        gradients=pullback.found(data.n_tokens) if pullback else None,
    )


def _parts(data: Data, hidden_size: int) -> Iterator[Data]:
    """The data in parts, each of as many sequences as memory is meant for, and at least one."""
    most = max(1, _STATE_BYTES // (4 * hidden_size))
    start, tokens = 0, 0
    for index, sequence in enumerate(data.sequences):
        if index > start and tokens + len(sequence) > most:
            yield data.select(range(start, index))
            start, tokens = index, 0
        tokens += len(sequence)
    yield data.select(range(start, data.n_sequences))
