# SPDX-License-Identifier: Apache-2.0
"""Names of compute types."""

from __future__ import annotations

from typing import Literal

from prunecore._native.library import ffi
from prunecore.errors import ArgumentError

Compute = Literal["float32", "bfloat16"]

COMPUTE_TYPES: tuple[Compute, ...] = ("float32", "bfloat16")
"""What matrix products can multiply in."""


def compute_value(name: str | None) -> int:
    """The header's value for the name of a compute type; None = automatic."""
    if name is None:
        return int(ffi.integer_const("PRUNE_COMPUTE_AUTOMATIC"))
    if name not in COMPUTE_TYPES:
        raise ArgumentError(f"compute is '{name}', but must be {' or '.join(COMPUTE_TYPES)}")
    return int(ffi.integer_const(f"PRUNE_COMPUTE_{name.upper()}"))


def compute_name(value: int) -> Compute:
    """The name of a compute type that the library reports."""
    return next(name for name in COMPUTE_TYPES if compute_value(name) == value)
