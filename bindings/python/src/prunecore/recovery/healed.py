# SPDX-License-Identifier: Apache-2.0
"""A model whose kept weights were trained, and how that went."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from prunecore.masks.mask import Mask
from prunecore.opened import OpenModel

ModelKind_co = TypeVar("ModelKind_co", bound=OpenModel, covariant=True)


@dataclass(frozen=True)
class HealingRecord:
    """One look at the losses of a healing.

    Attributes
    ----------
    step : int
        Steps done.
    learning_rate : float or None
        Of the last of them; None before the first step.
    loss : float or None
        Mean objective of the steps since the look before; None before the first step.
    held_out_loss : float
        Objective on the held-out data.
    """

    step: int
    learning_rate: float | None
    loss: float | None
    held_out_loss: float

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Any) -> HealingRecord:
        """Reads what `to_dict` gives. KeyError, TypeError and ValueError say what is wrong."""
        numbers = {
            name: None if record[name] is None else float(record[name])
            for name in ("learning_rate", "loss")
        }
        return cls(
            step=int(record["step"]), held_out_loss=float(record["held_out_loss"]), **numbers
        )


@dataclass(frozen=True)
class Healed(Generic[ModelKind_co]):
    """What `Model.heal` gives.

    Attributes
    ----------
    model : Model
        The whole model, of the same kind as the one that was healed; its mask is set. What the
        mask removes has the weights that it had.
    mask : Mask
        The mask that it was healed under.
    history : tuple of HealingRecord
        Looks at the losses, in order; the first is before the first step.
    loss_before, loss_after : float
        The objective on the held-out data before the first step, and of the weights that were kept.
    steps, best_step : int
        Steps done, and the one whose weights were kept; 0 = none was better than the start.
    trained_parameters : int
        Numbers that were trained.
    trained_tokens : int
        Tokens of the sequences trained on, repetitions counted.
    seconds : float
        That it took, runs before a checkpoint included.
    provenance : dict
        Where it comes from, as JSON values: model, data, options.
    """

    model: ModelKind_co
    mask: Mask
    history: tuple[HealingRecord, ...]
    loss_before: float
    loss_after: float
    steps: int
    best_step: int
    trained_parameters: int
    trained_tokens: int
    seconds: float
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All but the model, for JSON."""
        return {
            "removed": self.mask.removed,
            "loss_before": self.loss_before,
            "loss_after": self.loss_after,
            "steps": self.steps,
            "best_step": self.best_step,
            "trained_parameters": self.trained_parameters,
            "trained_tokens": self.trained_tokens,
            "seconds": self.seconds,
            "history": [record.to_dict() for record in self.history],
            "provenance": copy.deepcopy(dict(self.provenance)),
        }

    def __repr__(self) -> str:
        return (
            f"Healed(loss_before={self.loss_before:.4f}, loss_after={self.loss_after:.4f}, "
            f"steps={self.steps}, best_step={self.best_step}, "
            f"trained_parameters={self.trained_parameters})"
        )
