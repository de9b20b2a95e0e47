# SPDX-License-Identifier: Apache-2.0
"""How a search that narrows feed-forwards goes about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypedDict

from prunecore._native.numbers import checked_count, checked_positive
from prunecore._native.options import Option, Options
from prunecore.errors import ArgumentError
from prunecore.importance.neuron_scores import NEURON_METRICS

Narrowing = Literal["2ssp", "narrow"]
NARROWINGS: tuple[Narrowing, ...] = ("2ssp", "narrow")
"""Strategies of searches that make feed-forwards narrower beside removing sublayers."""


@dataclass(frozen=True, kw_only=True)
class NarrowingOptions(Options):
    """The options of "2ssp" and "narrow" that other strategies do not have."""

    OPTIONS: ClassVar[dict[str, Option]] = {
        "sparsity": Option(
            kind="number",
            text="2ssp, narrow: share of the parameters of all blocks that is to go, below 1.",
            default="no such bound",
        ),
        "alpha": Option(
            kind="number",
            text="2ssp: how little attention goes; removed are n_blocks * sparsity^(r / alpha) of "
            "them, with r the parameters of a feed-forward by those of an attention.",
            default="1.5",
        ),
        "measured_sequences": Option(
            kind="count",
            text="2ssp, narrow: sequences of the data on which removals are measured, the first.",
            default="1 for 2ssp, all for narrow",
        ),
        "rounds": Option(
            kind="count",
            text="narrow: rounds in which removals are measured anew.",
            default="6",
        ),
        "uniform": Option(
            kind="switch",
            text="narrow: whether all feed-forwards get one width, which plain checkpoints need.",
        ),
        "multiple_of": Option(
            kind="count",
            text="2ssp, narrow: what new widths are multiples of.",
            default="1",
        ),
        "neuron_group": Option(
            kind="count",
            text="2ssp, narrow: neighbouring neurons that stay or go together; with the block size "
            "of a quantised type, its matrices keep that.",
            default="1",
        ),
    }

    sparsity: float | None = None
    alpha: float | None = None
    neuron_metric: str | None = None
    measured_sequences: int | None = None
    rounds: int | None = None
    uniform: bool = False
    multiple_of: int | None = None
    neuron_group: int | None = None

    def refuse(self, strategy: str) -> None:
        """Raises `ArgumentError` if an option is given to another strategy."""
        for name in (*self.OPTIONS, "neuron_metric"):
            if getattr(self, name) not in (None, False):
                raise ArgumentError(
                    f"{name} is an option of 2ssp and narrow, and {strategy} has none of it"
                )

    def checked(self, strategy: Narrowing) -> CheckedNarrowing:
        """The options with their defaults. Raises `ArgumentError` for one out of range."""
        if strategy == "2ssp" and (self.uniform or self.rounds is not None):
            raise ArgumentError("uniform and rounds are options of narrow; 2ssp has one width")
        if strategy == "narrow" and self.alpha is not None:
            raise ArgumentError("alpha is an option of 2ssp; narrow weighs by what it measures")
        sparsity = self.sparsity
        if sparsity is not None:
            sparsity = checked_positive("sparsity", sparsity)
            if sparsity >= 1:
                raise ArgumentError(f"sparsity is {sparsity}, but must be below 1")
        metric = self.neuron_metric or {"2ssp": "norm", "narrow": "contribution"}[strategy]
        if metric not in NEURON_METRICS:
            raise ArgumentError(
                f"neuron_metric is '{metric}', but must be {' or '.join(NEURON_METRICS)}"
            )
        group = checked_count("neuron_group", self.neuron_group or 1, 1)
        multiple = checked_count("multiple_of", self.multiple_of or group, 1)
        if multiple % group:
            raise ArgumentError(f"multiple_of is {multiple}, no multiple of neuron_group, {group}")
        sequences = self.measured_sequences
        return CheckedNarrowing(
            sparsity=sparsity,
            alpha=1.5 if self.alpha is None else checked_positive("alpha", self.alpha),
            neuron_metric=metric,
            measured_sequences=(
                (1 if strategy == "2ssp" else None)
                if sequences is None
                else checked_count("measured_sequences", sequences, 1)
            ),
            rounds=checked_count("rounds", 6 if self.rounds is None else self.rounds, 1, 1000),
            uniform=bool(self.uniform),
            multiple_of=multiple,
            neuron_group=group,
        )


@dataclass(frozen=True, kw_only=True)
class CheckedNarrowing:
    """The same with their defaults; no number of sequences means all of them."""

    sparsity: float | None
    alpha: float
    neuron_metric: str
    measured_sequences: int | None
    rounds: int
    uniform: bool
    multiple_of: int
    neuron_group: int


class NarrowingArguments(TypedDict, total=False):
    """The plain options of `NarrowingOptions` as keyword arguments."""

    sparsity: float | None
    alpha: float | None
    measured_sequences: int | None
    rounds: int | None
    uniform: bool
    multiple_of: int | None
    neuron_group: int | None
