# SPDX-License-Identifier: Apache-2.0
"""The recovery study: what each kind of adapter wins back, by how much was removed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from prunecore._native.draw import draw
from prunecore.studies.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RecoveryPoint:
    """A pruned model, recovered in one way.

    Attributes
    ----------
    granularity : str
        What was removed: "attention", "feed_forward", "block" or "sublayer".
    n_removed : int
        How many of these.
    removed : tuple of str
        Names of the removed sublayers.
    method : str
        The name of a `RecoveryMethod`; "pruned" for the model without adapters.
    loss : float
        On held-out text.
    share : float
        Of the loss that pruning lost, how much is won back: 1 = all of it.
    parameters : int
        Of the adapters.
    tokens : int
        That they learnt from, repetitions counted.
    seconds : float
        That it took to make them.
    """

    granularity: str
    n_removed: int
    removed: tuple[str, ...]
    method: str
    loss: float
    share: float
    parameters: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class RecoveryStudy(Study[RecoveryPoint]):
    """What each kind of adapter wins back.

    Attributes
    ----------
    loss : float
        Of the full model on the held-out text.
    points : tuple of RecoveryPoint
        By granularity, number removed and method, "pruned" first.
    provenance : dict
        Model, data and options, as JSON values.
    """

    format: ClassVar[str] = "prunecore.recovery"
    noun: ClassVar[str] = "recovery study"
    point: ClassVar[type[RecoveryPoint]] = RecoveryPoint

    loss: float
    points: tuple[RecoveryPoint, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draws the losses, and the share won back; saved where a path is given."""
        return draw("recovery_losses", self, path=path)
