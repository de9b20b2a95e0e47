# SPDX-License-Identifier: Apache-2.0
"""Values of every token: losses, logits, hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.library import ffi, lib
from prunecore._native.progress import ProgressFunction, Watch
from prunecore.errors import ArgumentError
from prunecore.masks.mask import keep_pointer
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
    call = _Call(self, data, mask, batch_tokens, progress)
    return call.rows(lib.prune_model_token_losses, 1).reshape(-1)


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
    call = _Call(self, data, mask, batch_tokens, progress)
    return call.rows(lib.prune_model_logits, self.shape.vocabulary_size)


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
    call = _Call(self, data, mask, batch_tokens, progress)
    return call.rows(lib.prune_model_hidden_states, self.shape.hidden_size, sublayer)


class _Call:
    """A call that runs a model on data under a mask, and writes floats for every token."""

    def __init__(
        self,
        model: OpenModel,
        data: Data,
        mask: MaskLike | None,
        batch_tokens: int | None,
        progress: ProgressFunction | None,
    ) -> None:
        self._model = model
        self._data = data
        self._keep = model._keep(mask)
        self._watch = Watch(progress)
        self._options = evaluate_options(batch_tokens, self._watch)

    def rows(self, function: Any, width: int, *place: int) -> npt.NDArray[np.float32]:
        """What a C function writes: `width` floats per token. `place` says where, if it asks that.

        Returns
        -------
        array of float32, shape (n_tokens, width)
        """
        result = np.empty((self._data.n_tokens, width), dtype=np.float32)
        out = ffi.from_buffer("float[]", result)
        given = self._model.handle, self._data.handle, *keep_pointer(self._keep)
        status = function(*given, *place, self._options, out, result.size, ffi.NULL)
        self._watch.check(status)
        return result
