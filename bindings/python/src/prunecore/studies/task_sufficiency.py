# SPDX-License-Identifier: Apache-2.0
"""Which task's pruned model determines what another task's represents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.names.tables import Kind
from prunecore._native.progress import ProgressFunction
from prunecore.data.choice_data import ChoiceData
from prunecore.data.data import Data
from prunecore.errors import ArgumentError, NonFiniteError
from prunecore.masks.mask import Mask
from prunecore.studies.gaussian_information import SufficiencyEstimate, estimate_sufficiency

if TYPE_CHECKING:
    from prunecore.model import Model

Values = npt.NDArray[np.float64]

FLOOR = 0.01
"""Variance of the noise that embeddings are seen through, over their mean variance."""
SAMPLES_PER_DIRECTION = 10
"""Samples that there are at least for each principal direction."""


@dataclass(frozen=True, eq=False)
class TaskSufficiency:
    """Gaussian information sufficiency between the models that are pruned for each task.

    Definitions: docs/tasks.md.

    Attributes
    ----------
    estimate : SufficiencyEstimate
        Row: the task that explains; column: the task that is explained.
    n_removed : int
        Units that each task's model lacks.
    adapters : str or None
        Kind of the adapters in their places, fitted on the task's calibration part.
    directions : int
        Principal directions of each embedding.
    explained : tuple of float
        Share of each embedding's variance in them, per task.
    n_samples, n_sequences : int
        Tokens, and the sequences that they come from.
    floor : float
        Variance of the noise, over the mean variance of an embedding's directions.
    """

    estimate: SufficiencyEstimate
    n_removed: int
    adapters: str | None
    directions: int
    explained: tuple[float, ...]
    n_samples: int
    n_sequences: int
    floor: float

    def to_dict(self) -> dict[str, Any]:
        """All numbers as JSON values; those that are not known are None."""
        return {
            "matrix": self.estimate.shares.tolist(),
            "errors": _numbers(self.estimate.errors),
            "gaps": self.estimate.gaps.tolist(),
            "gap_errors": _numbers(self.estimate.gap_errors),
            "nats": self.estimate.nats.tolist(),
            "n_removed": self.n_removed,
            "adapters": self.adapters,
            "directions": self.directions,
            "explained": list(self.explained),
            "n_samples": self.n_samples,
            "n_sequences": self.n_sequences,
            "floor": self.floor,
        }


def task_sufficiency(
    model: Model,
    masks: Sequence[Mask],
    parts: Sequence[tuple[Data, Data]],
    *,
    n_removed: int,
    adapters: Kind | None,
    directions: int,
    progress: ProgressFunction | None,
) -> TaskSufficiency:
    """Compares what the models that are pruned for each task represent of the same inputs.

    Parameters
    ----------
    model : Model
        The full model, or as far as its mask leaves it.
    masks : sequence of Mask
        One per task.
    parts : sequence of pairs of Data
        Calibration and held-out part of each task.
    n_removed, adapters, directions
        As `TaskSufficiency` has them.
    progress : callable, optional
        As for `Model.score`.
    """
    texts = [_inputs(held_out) for _, held_out in parts]
    inputs = Data.concatenate(texts)
    lengths = [len(row) for row in inputs.sequences]
    position = np.concatenate([np.arange(length) for length in lengths])
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    task = np.repeat(np.repeat(np.arange(len(texts)), [len(text) for text in texts]), lengths)
    # The first token is the same in most sequences, and where models put what they do not need.
    used = position > 0
    counts = np.bincount(task[used], minlength=len(texts))
    if not counts.all():
        raise ArgumentError("a task has no held-out sequence of two tokens or more to compare")
    groups = np.unique(sequence[used], return_inverse=True)[1]
    n_groups = int(groups.max()) + 1
    # The fewest samples that a fold is predicted from.
    fewest = int(used.sum()) * (n_groups - math.ceil(n_groups / min(5, n_groups))) // n_groups
    width = model.shape.hidden_size
    count = max(1, min(directions, width, fewest // SAMPLES_PER_DIRECTION))
    weights = 1.0 / counts[task[used]]
    embeddings, explained = [], []
    for mask, (calibration, _) in zip(masks, parts, strict=True):
        states = _last_states(model, mask, calibration, adapters, inputs, progress)[used]
        projected, share = _principal(_unit_rows(states), weights, count)
        embeddings.append(projected)
        explained.append(share)
    return TaskSufficiency(
        estimate=estimate_sufficiency(embeddings, groups, weights, floor=FLOOR),
        n_removed=n_removed,
        adapters=adapters if n_removed else None,
        directions=count,
        explained=tuple(explained),
        n_samples=int(used.sum()),
        n_sequences=n_groups,
        floor=FLOOR,
    )


def _inputs(data: Data) -> Data:
    """The sequences of a task without their weights; of a question with its right answer."""
    if isinstance(data, ChoiceData):
        answered = zip(data.contexts, data.candidates, data.answers, strict=True)
        return Data([np.concatenate([context, rows[right]]) for context, rows, right in answered])
    return Data(list(data.sequences))


def _last_states(
    model: Model,
    mask: Mask,
    calibration: Data,
    adapters: Kind | None,
    inputs: Data,
    progress: ProgressFunction | None,
) -> npt.NDArray[np.float32]:
    """The residual stream of each token after the last sublayer, before the final norm."""
    end = 2 * model.shape.n_blocks
    if adapters is None or mask == model.mask:
        return model.hidden_states(inputs, end, mask, progress=progress)
    # A mean update has nothing to choose on data that are held out: it learns from all of them.
    held_out = calibration if adapters == "bias" else None
    made = model.recover(mask, calibration, adapters, held_out=held_out, progress=progress)
    with made.attach(model) as recovered:
        return recovered.hidden_states(inputs, end, progress=progress)


def _unit_rows(states: npt.NDArray[np.float32]) -> Values:
    """Rows over their root mean square: what the final norm lets the head see."""
    rows = states.astype(np.float64)
    scale = np.sqrt((rows**2).mean(axis=1, keepdims=True))
    if not np.isfinite(scale).all():
        raise NonFiniteError("the last hidden state of a pruned model is NaN or infinite")
    found: Values = rows / np.maximum(scale, np.finfo(np.float64).tiny)
    return found


def _principal(rows: Values, weights: Values, count: int) -> tuple[Values, float]:
    """Rows in their first principal directions, and the share of the variance that these hold."""
    share = weights / weights.sum()
    centred = rows - share @ rows
    values, vectors = np.linalg.eigh((centred * share[:, None]).T @ centred)
    total = float(values.sum())
    kept = float(values[-count:].sum())
    return centred @ vectors[:, -count:], kept / total if total > 0 else 1.0


def _numbers(table: Values) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in table.tolist()]
