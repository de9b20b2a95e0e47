# SPDX-License-Identifier: Apache-2.0
"""Steps of `Model.heal`, timed, through any door."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import prunecore as pc

LEARNING_RATE = 1e-5


def timed(
    model: Any, ids: np.ndarray, removed: int, train: Sequence[str], steps: int
) -> dict[str, Any]:
    """Steps on all sequences at once, without the last blocks.

    Parameters
    ----------
    model : Model
    ids : array of int, shape (sequences, tokens)
    removed : int
        Blocks that are missing at the end.
    train : sequence of str
        As `Model.heal` takes it.
    steps : int
        The first one begins a call, and is not timed.

    Returns
    -------
    dict
        "seconds" of the others, and the "losses" before each step.
    """
    blocks = model.shape.n_blocks
    mask = pc.Mask.remove([f"block.{blocks - 1 - own}" for own in range(removed)], blocks)
    ends: list[float] = []
    losses: list[float] = []

    def note(told: Any) -> None:
        ends.append(time.perf_counter())
        losses.append(told.loss)

    healed = model.heal(
        pc.Data(ids),
        mask,
        train=list(train),
        steps=steps,
        batch_sequences=len(ids),
        learning_rate=LEARNING_RATE,
        schedule="constant",
        warmup_steps=0,
        held_out=pc.Data(ids[:1, :2]),
        evaluate_every=steps,
        on_step=note,
    )
    healed.model.close()
    return {"seconds": np.diff(ends).tolist(), "losses": losses}
