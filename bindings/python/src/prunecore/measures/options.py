# SPDX-License-Identifier: Apache-2.0
"""The options that all measurements share."""

from __future__ import annotations

from typing import Any

from prunecore._native.library import new_struct
from prunecore._native.progress import Watch
from prunecore.errors import ArgumentError


def evaluate_options(batch_tokens: int | None, watch: Watch) -> Any:
    """The C options of an evaluation."""
    options = new_struct("prune_evaluate_options")
    options.batch_tokens = checked_batch_tokens(batch_tokens)
    options.progress = watch.callback
    return options


def checked_batch_tokens(batch_tokens: int | None) -> int:
    """Tokens per batch for C: 0 for None."""
    if batch_tokens is None:
        return 0
    if not 0 < batch_tokens < 2**63:
        raise ArgumentError(f"batch_tokens is {batch_tokens}, but must be at least 1")
    return int(batch_tokens)
