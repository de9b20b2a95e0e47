# SPDX-License-Identifier: Apache-2.0
"""Values of every token: losses, logits, hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.library import ffi, lib
from prunecore._native.progress import ProgressFunction, Watch
from prunecore.errors import ArgumentError
from prunecore.masks.mask import as_keep, keep_pointer
from prunecore.measures.options import evaluate_options

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


def token_losses(
    self: OpenModel,
    data: Data,
    mask: MaskLike | None = None,
    *,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> npt.NDArray[np.float32]:
    """Loss of every token: -log p(token | those before it), in nats, not weighted.

    It is 0 for the first token of each sequence, which nothing predicts.

    Returns
    -------
    array of float32, shape (n_tokens,)
        All sequences one after the other.
    """
    rows = _rows(
        self,
        data,
        mask,
        width=1,
        function=lib.prune_model_token_losses,
        batch_tokens=batch_tokens,
        progress=progress,
    )
    return rows.reshape(-1)


def logits(
    self: OpenModel,
    data: Data,
    mask: MaskLike | None = None,
    *,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> npt.NDArray[np.float32]:
    """Logits of every token, for checks and small data.

    Returns
    -------
    array of float32, shape (n_tokens, vocabulary_size)
        Row t predicts what follows token t.
    """
    return _rows(
        self,
        data,
        mask,
        width=self.shape.vocabulary_size,
        function=lib.prune_model_logits,
        batch_tokens=batch_tokens,
        progress=progress,
    )


def hidden_states(
    self: OpenModel,
    data: Data,
    sublayer: int,
    mask: MaskLike | None = None,
    *,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> npt.NDArray[np.float32]:
    """The residual stream before a sublayer.

    2 * n_blocks stands for that after the last sublayer, before the final norm.

    Returns
    -------
    array of float32, shape (n_tokens, hidden_size)
    """
    last = 2 * self.shape.n_blocks
    if not 0 <= sublayer <= last:
        raise ArgumentError(f"sublayer is {sublayer}, but must be from 0 to {last}")
    return _rows(
        self,
        data,
        mask,
        width=self.shape.hidden_size,
        function=lib.prune_model_hidden_states,
        sublayer=sublayer,
        batch_tokens=batch_tokens,
        progress=progress,
    )


def _rows(
    model: OpenModel,
    data: Data,
    mask: MaskLike | None,
    *,
    width: int,
    function: Any,
    sublayer: int | None = None,
    batch_tokens: int | None,
    progress: ProgressFunction | None,
) -> npt.NDArray[np.float32]:
    """Calls a function that writes `width` floats per token: losses, logits, hidden states.

    Returns
    -------
    array of float32, shape (n_tokens, width)
    """
    keep = as_keep(mask, model.shape.n_blocks)
    pointer, n_keep = keep_pointer(keep)
    result = np.empty((data.n_tokens, width), dtype=np.float32)
    out = ffi.from_buffer("float[]", result)
    watch = Watch(progress)
    options = evaluate_options(batch_tokens, watch)
    position = [] if sublayer is None else [sublayer]
    arguments = [model.handle, data.handle, pointer, n_keep, *position, options]
    watch.check(function(*arguments, out, result.size, ffi.NULL))
    return result
