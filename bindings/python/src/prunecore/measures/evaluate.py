# SPDX-License-Identifier: Apache-2.0
"""What a model is worth on data under a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.library import ffi, lib, new_struct
from prunecore._native.progress import ProgressFunction, Watch
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Keep, as_keep, keep_pointer

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.model import Model


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a data set under one mask.

    Attributes
    ----------
    loss : float
        Weighted mean negative log-likelihood over all predicted tokens, nats.
    perplexity : float
        exp(loss): token-pooled.
    sequence_perplexity : float
        Mean over sequences of exp(mean loss of the sequence): that of arXiv 2407.16286.
    weight : float
        Sum of the weights of the predicted tokens.
    tokens : int
        Predicted tokens with a weight above 0.
    sequences : int
        Sequences that have such a token.
    """

    loss: float
    perplexity: float
    sequence_perplexity: float
    weight: float
    tokens: int
    sequences: int

    def to_dict(self) -> dict[str, float | int]:
        """All fields, for JSON."""
        return asdict(self)


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


def evaluate(
    model: Model,
    data: Data,
    masks: Sequence[MaskLike] | None,
    batch_tokens: int | None,
    progress: ProgressFunction | None,
) -> list[Evaluation]:
    """Evaluates a model under each mask; None = under its own. See `Model.evaluate_masks`."""
    n_blocks = model.shape.n_blocks
    rows: list[Keep] = []
    for mask in masks or []:
        keep = as_keep(mask, n_blocks)
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


def read_rows(
    model: Model,
    data: Data,
    mask: MaskLike | None,
    width: int,
    sublayer: int | None,
    function: Any,
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
