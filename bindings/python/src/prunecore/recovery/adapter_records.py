# SPDX-License-Identifier: Apache-2.0
"""What is told of adapters: each of them, all together, and their training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from prunecore._native.names.tables import INPUT, KIND, OBJECTIVE
from prunecore._native.names.units import sublayer_name

if TYPE_CHECKING:
    from prunecore._native.names.tables import Part

_PARTS: dict[str, tuple[Part, ...]] = {
    "bias": ("bias",),
    "low_rank": ("bias", "down", "up"),
    "linear": ("bias", "matrix"),
}


@dataclass(frozen=True)
class Adapter:
    """One adapter.

    Attributes
    ----------
    sublayer : int
        In whose place it stands.
    kind : {"bias", "low_rank", "linear"}
        What it computes.
    input : {"normed", "raw"}
        What its matrix is applied to; "raw" for a bias.
    rank : int
        Of low_rank; else 0.
    parameters : int
        How many numbers it holds.
    bias_norm, matrix_norm : float
        Euclidean norm of the bias, Frobenius norm of the matrix.
    ridge : float or None
        That the closed form used.
    explained : float or None
        Share of the update's variance on held-out tokens that the closed form explains.
    """

    sublayer: int
    kind: str
    input: str
    rank: int
    parameters: int
    bias_norm: float
    matrix_norm: float
    ridge: float | None
    explained: float | None

    @classmethod
    def read(cls, row: Any) -> Adapter:
        """From the C struct."""
        return cls(
            sublayer=row.sublayer,
            kind=KIND.name(row.kind),
            input=INPUT.name(row.input),
            rank=row.rank,
            parameters=row.parameters,
            bias_norm=row.bias_norm,
            matrix_norm=row.matrix_norm,
            ridge=_known(row.ridge),
            explained=_known(row.explained),
        )

    @property
    def name(self) -> str:
        """Such as "attn.12"."""
        return sublayer_name(self.sublayer)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Names of its arrays."""
        own = _PARTS[self.kind]
        return (*own, "norm") if self.input == "normed" and self.kind != "bias" else own

    def to_dict(self) -> dict[str, Any]:
        """All fields and the name, for JSON."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class RecoverySummary:
    """Adapters as a whole, and how they came about.

    Attributes
    ----------
    objective : {"closed_form", "mse", "ce", "kl", "js"}
        The last one that they were made for.
    n_blocks, hidden_size : int
        Of the model.
    n_adapters, parameters : int
        How many, and the numbers they hold together.
    statistics_tokens : int
        Tokens that the closed form learnt from.
    trained_tokens : int
        Tokens trained on, repetitions counted.
    steps, best_step : int
        Of training: done, and the one whose adapters these are.
    held_out_before, held_out_best : float or None
        Objective on held-out tokens before training, and of these adapters.
    seconds : float
        That it took to make them.
    """

    objective: str
    n_blocks: int
    hidden_size: int
    n_adapters: int
    parameters: int
    statistics_tokens: int
    trained_tokens: int
    steps: int
    best_step: int
    held_out_before: float | None
    held_out_best: float | None
    seconds: float

    @classmethod
    def read(cls, found: Any) -> RecoverySummary:
        """From the C struct."""
        return cls(
            objective=OBJECTIVE.name(found.objective),
            n_blocks=found.n_blocks,
            hidden_size=found.hidden_size,
            n_adapters=found.n_adapters,
            parameters=found.parameters,
            statistics_tokens=found.statistics_tokens,
            trained_tokens=found.trained_tokens,
            steps=found.steps,
            best_step=found.best_step,
            held_out_before=_known(found.held_out_before),
            held_out_best=_known(found.held_out_best),
            seconds=found.seconds,
        )

    @property
    def tokens(self) -> int:
        """Tokens that were learnt from, by the closed form and in training."""
        return self.statistics_tokens + self.trained_tokens

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class TrainingRecord:
    """One look at the losses of a training.

    Attributes
    ----------
    step : int
        Steps done.
    loss : float or None
        Mean objective of the steps since the look before; None before the first step.
    held_out_loss : float
        Objective on held-out tokens.
    """

    step: int
    loss: float | None
    held_out_loss: float | None

    @classmethod
    def read(cls, row: Any) -> TrainingRecord:
        """From the C struct."""
        return cls(row.step, _known(row.loss), _known(row.held_out_loss))

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


def _known(value: float) -> float | None:
    """None for NaN, which the header says where there is no value."""
    return None if math.isnan(value) else float(value)
