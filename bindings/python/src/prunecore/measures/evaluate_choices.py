# SPDX-License-Identifier: Apache-2.0
"""The call that has a model answer multiple-choice questions: `Model.evaluate_choices`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prunecore._native.library import ffi, lib
from prunecore._native.progress import ProgressFunction, Watch
from prunecore.data.choice_data import ChoiceData
from prunecore.errors import ArgumentError
from prunecore.masks.mask import keep_pointer
from prunecore.measures.choice_evaluation import ChoiceEvaluation, summarise
from prunecore.measures.options import evaluate_options

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


def evaluate_choices(
    self: OpenModel,
    data: Data,
    mask: MaskLike | None = None,
    *,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> ChoiceEvaluation:
    """Answers multiple-choice questions under a mask; None = the model's mask.

    Parameters
    ----------
    data : ChoiceData
        What `Data.from_choices` made.
    """
    if not isinstance(data, ChoiceData):
        raise ArgumentError(
            "the data holds no multiple-choice questions: make it with Data.from_choices"
        )
    keep = self._keep(mask)
    counts = [len(rows) for rows in data.candidates]
    result = np.empty(sum(counts), dtype=np.float64)
    watch = Watch(progress)
    options = evaluate_options(batch_tokens, watch)
    out = ffi.from_buffer("double[]", result)
    pointer, n_keep = keep_pointer(keep)
    watch.check(
        lib.prune_model_evaluate_choices(
            self.handle, data.handle, pointer, n_keep, options, out, result.size, ffi.NULL
        )
    )
    return summarise(data, np.split(result, np.cumsum(counts)[:-1]))
