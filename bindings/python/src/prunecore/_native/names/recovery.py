# SPDX-License-Identifier: Apache-2.0
"""Names of the options of recovery, and the header's numbers for them."""

from __future__ import annotations

from typing import Literal

from prunecore._raw_generated import ffi
from prunecore.errors import ArgumentError

Kind = Literal["bias", "low_rank", "linear"]
Objective = Literal["closed_form", "mse", "ce", "kl", "js"]
TrainedObjective = Literal["mse", "ce", "kl", "js"]
Input = Literal["normed", "raw"]
Stream = Literal["recovered", "full_model"]
Slot = Literal["attention", "feed_forward", "both"]
Start = Literal["closed_form", "zero"]
Part = Literal["bias", "down", "up", "matrix", "norm"]

ADAPTER_KINDS: tuple[Kind, ...] = ("bias", "low_rank", "linear")
"""What an adapter can compute: a constant; that and a map of low rank; that and a whole matrix."""

OBJECTIVES: tuple[Objective, ...] = ("closed_form", "mse", "ce", "kl", "js")
"""What adapters can be made for; all but the first are trained."""

_GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "kind": ("ADAPTER", ADAPTER_KINDS),
    "objective": ("OBJECTIVE", OBJECTIVES),
    "input": ("INPUT", ("normed", "raw")),
    "stream": ("STREAM", ("recovered", "full_model")),
    "block_slot": ("SLOT", ("attention", "feed_forward", "both")),
    "start": ("START", ("closed_form", "zero")),
    "part": ("PART", ("bias", "down", "up", "matrix", "norm")),
}


def recovery_value(option: str, name: object) -> int:
    """The header's value for one of the names that an option allows; "low-rank" is "low_rank"."""
    group, names = _GROUPS[option]
    wanted = str(name).strip().replace("-", "_")
    if wanted not in names:
        allowed = f"{', '.join(names[:-1])} or {names[-1]}"
        raise ArgumentError(f"{option} is '{name}', but must be {allowed}")
    return int(ffi.integer_const(f"PRUNE_{group}_{wanted.upper()}"))


def recovery_name(option: str, value: int) -> str:
    """The name of a value that the library reports for an option."""
    return next(name for name in _GROUPS[option][1] if recovery_value(option, name) == value)
