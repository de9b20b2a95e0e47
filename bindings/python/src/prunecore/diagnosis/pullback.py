# SPDX-License-Identifier: Apache-2.0
"""Gradients of the loss with respect to the hidden states, from the last one to the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore.data.data import Data
from prunecore.diagnosis.stages import Stage
from prunecore.measures.gradients import gradient, vjp
from prunecore.measures.token_values import hidden_states

if TYPE_CHECKING:
    from prunecore.masks.mask import Keep
    from prunecore.opened import OpenModel

Values = npt.NDArray[np.float64]
States = npt.NDArray[np.float32]

PULL_WORK = 3.0
"""What pulling a gradient through a sublayer takes, in computations of that sublayer."""
_PROBED_TOKENS = 64
_ROUNDING = 1e-2
"""Largest difference of two ways to a gradient, as a share of its norm, that is rounding."""


@dataclass(frozen=True)
class Gradients:
    """Norms of gradients at the boundaries of blocks.

    Attributes
    ----------
    norms : array, shape (n_blocks + 1,)
        Root mean square over tokens of the norm of d(sum of all losses) / d(state of the token),
        before each block and after the last.
    changes : array, shape (n_blocks,)
        Norm of (gradient before the block - gradient after it), over that of the latter.
    """

    norms: Values
    changes: Values


class Pullback:
    """Follows the gradient of the loss down the blocks, for parts of the data in turn.

    Where `pulls_agree`, each gradient is pulled back from the one after it. Else the model is asked
    for the gradient before each block anew.

    Parameters
    ----------
    model, keep
        What is differentiated, under which mask.
    is_chained : bool
        Which of the two.
    batch_tokens
        As for `Model.score`.
    """

    def __init__(
        self, model: OpenModel, keep: Keep, *, is_chained: bool, batch_tokens: int | None
    ) -> None:
        self._model, self._keep = model, keep
        self._is_chained, self._batch_tokens = is_chained, batch_tokens
        self._squares = np.zeros(len(keep) // 2 + 1)
        self._changes = np.zeros(len(keep) // 2)
        self._weight = 0.0
        self._here: States | None = None
        self._boundary: States | None = None

    @property
    def work(self) -> float:
        """Sublayers that a part takes, about."""
        whole = len(self._keep) * (1 + PULL_WORK)
        return whole if self._is_chained else whole * (len(self._keep) // 2)

    def begin(self, part: Data, stage: Stage) -> None:
        """Starts at the state after the last sublayer."""
        self._weight = predicted_weight(part)
        self._here = self._boundary = self._asked(part, len(self._keep), stage)
        if self._here is not None:
            self._squares[-1] += _square(self._here)

    def step(self, part: Data, place: int, before: States, stage: Stage) -> None:
        """Goes on to the state before sublayer `place`, which is `before`."""
        if self._here is None or self._boundary is None:
            return
        if self._is_chained:
            if self._keep[place]:
                self._here = vjp(
                    self._model,
                    part,
                    place,
                    before,
                    self._here,
                    batch_tokens=self._batch_tokens,
                    progress=stage.part(PULL_WORK),
                )
        elif place % 2 == 0:
            self._here = self._asked(part, place, stage)
        if place % 2 == 0 and self._here is not None:
            self._squares[place // 2] += _square(self._here)
            self._changes[place // 2] += _square(self._here - self._boundary)
            self._boundary = self._here

    def found(self, n_tokens: int) -> Gradients:
        """What all parts give together, `n_tokens` tokens."""
        after = self._squares[1:]
        shares = np.divide(self._changes, after, out=np.full_like(after, np.nan), where=after > 0)
        return Gradients(norms=np.sqrt(self._squares / n_tokens), changes=np.sqrt(shares))

    def _asked(self, part: Data, place: int, stage: Stage) -> States | None:
        """The gradient of the sum of losses before a sublayer; None where nothing is predicted."""
        work = len(self._keep) + PULL_WORK * (len(self._keep) - place)
        tell = stage.part(work)
        if self._weight <= 0:
            return None
        found = gradient(
            self._model,
            part,
            "ce",
            place,
            self._keep,
            batch_tokens=self._batch_tokens,
            progress=tell,
        )
        scaled: States = found.values * np.float32(self._weight)  # of the sum, not of the mean
        return scaled


def pulls_agree(model: OpenModel, data: Data, keep: Keep) -> bool:
    """Whether gradients that are pulled back sublayer by sublayer are those of the whole model.

    They are not where a sublayer reads more than the state before it: the feed-forward of a
    parallel block reads what came before the attention. Tried on a few tokens.
    """
    probe = _probe(data)
    if probe is None:
        return True
    places = range(len(keep)) if model.shape.removes_sublayers else range(0, len(keep), 2)
    pulled = gradient(model, probe, "ce", len(keep), keep).values
    for place in reversed(places):
        if keep[place]:
            pulled = vjp(model, probe, place, hidden_states(model, probe, place, keep), pulled)
    asked = gradient(model, probe, "ce", 0, keep).values
    return _square(pulled - asked) <= _ROUNDING**2 * _square(asked)


def predicted_weight(data: Data) -> float:
    """The sum of the weights of the predicted tokens, over which the loss is the mean."""
    if data.token_weights is None:
        return float(data.n_tokens - data.n_sequences)
    weights = data.token_weights.astype(np.float64)
    firsts = np.cumsum([0, *(len(row) for row in data.sequences[:-1])])
    return float(weights.sum() - weights[firsts].sum())


def _probe(data: Data) -> Data | None:
    """The beginning of the first sequence that predicts something."""
    for row in data.sequences:
        if len(row) > 1:
            return Data([row[:_PROBED_TOKENS]])
    return None


def _square(values: States) -> float:
    return float(np.square(values, dtype=np.float64).sum())
