# SPDX-License-Identifier: Apache-2.0
"""The calls that evaluate a model: `Model.evaluate` and `Model.evaluate_masks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prunecore._native.given import listed
from prunecore._native.library import ffi, lib
from prunecore._native.progress import ProgressFunction, Watch
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Keep
from prunecore.measures.evaluation import Evaluation
from prunecore.measures.options import evaluate_options

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.measures.adapters_like import AdaptersLike
    from prunecore.opened import OpenModel


def evaluate(
    self: OpenModel,
    data: Data,
    mask: MaskLike | None = None,
    *,
    adapters: AdaptersLike | None = None,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> Evaluation:
    """Loss and perplexity on data under a mask; None = the model's mask.

    With `adapters`, that of the recovered model: the mask is then that of the adapters, and may
    be left out.
    """
    if adapters is not None:
        if mask is not None:
            adapters.check_mask(mask, self)
        with adapters.attach(self) as recovered:
            return evaluate(recovered, data, batch_tokens=batch_tokens, progress=progress)
    masks = None if mask is None else [mask]
    return _evaluated(self, data, masks, batch_tokens=batch_tokens, progress=progress)[0]


def evaluate_masks(
    self: OpenModel,
    data: Data,
    masks: Sequence[MaskLike],
    *,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> list[Evaluation]:
    """Loss and perplexity on data under each of several masks."""
    return _evaluated(
        self, data, listed("masks", masks), batch_tokens=batch_tokens, progress=progress
    )


def _evaluated(
    model: OpenModel,
    data: Data,
    masks: Sequence[MaskLike] | None,
    *,
    batch_tokens: int | None,
    progress: ProgressFunction | None,
) -> list[Evaluation]:
    """Evaluates a model under each mask; None = under its own."""
    n_blocks = model.shape.n_blocks
    rows: list[Keep] = []
    for mask in masks or []:
        keep = model._keep(mask)
        if keep is None:
            raise ArgumentError("one of the masks is None")
        rows.append(keep)
    if masks is not None and not rows:
        return []
    table: Any = ffi.NULL
    if rows:
        stacked = np.ascontiguousarray(np.stack(rows))
        table = ffi.from_buffer("uint8_t[]", stacked)
    count = len(rows) or 1
    out = ffi.new("prune_evaluation[]", count)
    watch = Watch(progress)
    options = evaluate_options(batch_tokens, watch)
    length = 2 * n_blocks if rows else 0
    watch.check(
        lib.prune_model_evaluate(model.handle, data.handle, table, count, length, options, out)
    )
    return [
        Evaluation(
            loss=row.loss,
            perplexity=row.perplexity,
            sequence_perplexity=row.sequence_perplexity,
            weight=row.weight,
            tokens=row.tokens,
            sequences=row.sequences,
        )
        for row in out
    ]
