# SPDX-License-Identifier: Apache-2.0
"""How kept weights are trained: the options that every door of healing takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from prunecore._native.numbers import checked_count, checked_positive
from prunecore._native.paths import shown
from prunecore.errors import ArgumentError

HealingObjective = Literal["ce", "kl", "js"]
Schedule = Literal["linear", "cosine", "constant"]

HEALING_OBJECTIVES: tuple[HealingObjective, ...] = ("ce", "kl", "js")
"""Loss of the text; KL(teacher || student) and Jensen-Shannon divergence of the distributions."""

SCHEDULES: tuple[Schedule, ...] = ("linear", "cosine", "constant")
"""How the learning rate falls after it has risen."""

_MOST_STEPS = 1 << 32


@dataclass(frozen=True, kw_only=True)
class HealingOptions:
    """The plain options of a healing, but for what is trained: see `Model.heal`.

    Raises
    ------
    ArgumentError
        One is out of range; the text names it.
    """

    objective: HealingObjective = "ce"
    steps: int = 100
    batch_sequences: int = 8
    learning_rate: float = 1e-5
    schedule: Schedule = "linear"
    warmup_steps: int | None = None
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    evaluate_every: int | None = None
    patience: int | None = None
    untie_head: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        _check_choice("objective", self.objective, HEALING_OBJECTIVES)
        _check_choice("schedule", self.schedule, SCHEDULES)
        checked_count("steps", self.steps, 1, _MOST_STEPS)
        checked_count("batch_sequences", self.batch_sequences)
        checked_positive("learning_rate", self.learning_rate)
        if self.weight_decay != 0:
            checked_positive("weight_decay", self.weight_decay)
        if self.clip_norm is not None and self.clip_norm != math.inf:
            checked_positive("clip_norm", self.clip_norm)
        if self.warmup_steps is not None:
            checked_count("warmup_steps", self.warmup_steps, 0)
        for name in ("evaluate_every", "patience"):
            if getattr(self, name) is not None:
                checked_count(name, getattr(self, name))
        checked_count("seed", self.seed, 0, 2**64 - 1)

    @property
    def warmup(self) -> int:
        """Steps over which the learning rate rises: a tenth of all, if nothing is said."""
        return self.steps // 10 if self.warmup_steps is None else int(self.warmup_steps)

    @property
    def look_interval(self) -> int:
        """Steps between two looks at the held-out loss: a twentieth of all, if nothing is said."""
        return max(1, self.steps // 20) if self.evaluate_every is None else self.evaluate_every

    def rate(self, step: int) -> float:
        """The learning rate of a step, 1 to `steps`.

        A line up to the highest, which step `warmup` has; then a line down, or half a cosine, that
        would end at 0 one step after the last; or the highest throughout.
        """
        highest = float(self.learning_rate)
        if step <= self.warmup:
            return highest * step / self.warmup
        if self.schedule == "constant":
            return highest
        share = (step - self.warmup - 1) / max(1, self.steps - self.warmup)
        if self.schedule == "linear":
            return highest * (1 - share)
        return highest * (1 + math.cos(math.pi * share)) / 2

    def to_dict(self) -> dict[str, Any]:
        """All of them, defaults as numbers, for JSON."""
        clip = self.clip_norm if self.clip_norm != math.inf else None
        return {
            "objective": self.objective,
            "steps": int(self.steps),
            "batch_sequences": int(self.batch_sequences),
            "learning_rate": float(self.learning_rate),
            "schedule": self.schedule,
            "warmup_steps": self.warmup,
            "weight_decay": float(self.weight_decay),
            "clip_norm": None if clip is None else float(clip),
            "evaluate_every": int(self.look_interval),
            "patience": self.patience,
            "untie_head": bool(self.untie_head),
            "seed": int(self.seed),
        }


def _check_choice(name: str, given: Any, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ArgumentError(f"{name} is {shown(given)}, but must be one of {', '.join(known)}")
