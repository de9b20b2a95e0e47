# SPDX-License-Identifier: Apache-2.0
"""What sharing weights gives: the model, and what each of its deltas is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from prunecore._native.library import lib, written_text

if TYPE_CHECKING:
    from prunecore.model import SharedModel
    from prunecore.opened import OpenModel


@dataclass(frozen=True)
class SharedWeight:
    """A weight that is stored as another one and a delta of low rank.

    Attributes
    ----------
    name, base : str
        Of the tensors: its own, and the one that it shares.
    sublayer, base_sublayer : str
        Where they are: "ffn.5", "ffn.3".
    projection : str
        "query", "key", "value", "output", "gate", "up", "down"; two with "_" between where one
        tensor holds both.
    outputs, inputs, rank : int
        Sizes of the weight, and rank of the delta.
    scale : float
        On the base: 1, unless it was fitted.
    bytes, bytes_whole : int
        Of the delta, and of the weight as it was stored.
    error : float or None
        sqrt(E |(W' - W) x|^2 / E |W' x|^2) of the closed form, over the inputs x in the data, with
        W' the weight that W stands for; without data, the same of the matrices. None where it is
        not known, as after training.
    """

    name: str
    base: str
    sublayer: str
    base_sublayer: str
    projection: str
    outputs: int
    inputs: int
    rank: int
    scale: float
    bytes: int
    bytes_whole: int
    error: float | None


@dataclass(frozen=True)
class SharingSummary:
    """What sharing took.

    Attributes
    ----------
    bytes_whole, bytes_shared : int
        Of the weights that became deltas, as they were stored, and of the deltas.
    tokens : int
        That the closed form learnt from.
    trained_tokens : int
        Repetitions counted.
    steps, best_step : int
        Of training: done, and the one whose deltas these are; 0 without training.
    held_out_before, held_out_best : float or None
        The objective on held-out tokens before training and at the best step; None without.
    seconds : float
        In all.
    """

    bytes_whole: int
    bytes_shared: int
    tokens: int
    trained_tokens: int
    steps: int
    best_step: int
    held_out_before: float | None
    held_out_best: float | None
    seconds: float


@dataclass(frozen=True)
class Shared:
    """A model some of whose sublayers use the weights of others: what `Model.share` gives.

    Attributes
    ----------
    model : SharedModel
        Computes as any other; its weights in memory are whole.
    report : tuple of SharedWeight
        One for each weight that is stored as a delta.
    summary : SharingSummary
        What it took.
    """

    model: SharedModel
    report: tuple[SharedWeight, ...]
    summary: SharingSummary

    @property
    def bytes_saved(self) -> int:
        """By which the stored model is smaller; below 0 where deltas are larger than weights."""
        return self.summary.bytes_whole - self.summary.bytes_shared

    def to_dict(self) -> dict[str, Any]:
        """All but the model, for JSON."""
        return {
            "bytes_saved": self.bytes_saved,
            **asdict(self.summary),
            "weights": [asdict(each) for each in self.report],
        }


def shared_weights(model: OpenModel) -> tuple[SharedWeight, ...]:
    """The weights of a model that are stored as deltas, in the order of the model."""
    record = json.loads(written_text(lib.prune_model_shared, model.handle))
    names = SharedWeight.__dataclass_fields__
    return tuple(SharedWeight(**{name: each[name] for name in names}) for each in record["weights"])
