# SPDX-License-Identifier: Apache-2.0
"""Calibration text that a model writes itself: `Model.generate_calibration`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prunecore._native.numbers import checked_count
from prunecore._native.progress import ProgressFunction
from prunecore.data.data import Data
from prunecore.data.text import load_tokenizer, tokenize
from prunecore.errors import ArgumentError, DataError
from prunecore.generation.generate import configured_tokens, generate

if TYPE_CHECKING:
    from prunecore.data.text import TokenizerSource
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


def generate_calibration(
    self: OpenModel,
    n_sequences: int,
    prompts: str | Sequence[str] | Data | Any | None = None,
    *,
    prompt_tokens: int = 8,
    max_new_tokens: int = 256,
    seed: int = 0,
    mask: MaskLike | None = None,
    tokenizer: TokenizerSource | None = None,
    batch_sequences: int | None = None,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> Data:
    """Lets the model write text to calibrate itself with, where there is no other.

    It samples at temperature 1 and truncates nothing, so that the text is distributed as the model
    has learned it. Sharper samples calibrate worse: see docs/generation.md.

    Parameters
    ----------
    n_sequences : int
        Sequences to write.
    prompts : str, sequence of str, Data, or token ids as `Data` takes them, optional
        What the sequences begin with, taken in turn: of each, the first `prompt_tokens` tokens.
        Best are prompts of all the kinds that matter. Default: the model's start token alone.
    prompt_tokens : int
        Tokens of a prompt that are used, the start token included.
    max_new_tokens : int
        Tokens written after each at most. A sequence ends with the model's own end token, too.
    seed : int
        Decides what is written.
    mask, tokenizer, batch_sequences, batch_tokens, progress
        As for `Model.generate`.

    Returns
    -------
    Data
        `n_sequences` sequences, each a beginning and what the model wrote after it.

    Raises
    ------
    ArgumentError
        There are no prompts, and the model's configuration names no start token.
    """
    checked_count("n_sequences", n_sequences)
    checked_count("prompt_tokens", prompt_tokens)
    beginnings = [row[:prompt_tokens] for row in _beginnings(self, prompts, tokenizer)]
    if not beginnings:
        raise DataError("there are no prompts to begin with; leave them out to begin with nothing")
    turns = [beginnings[index % len(beginnings)] for index in range(n_sequences)]
    made = generate(
        self,
        Data(turns),
        max_new_tokens,
        temperature=1.0,
        seed=seed,
        mask=mask,
        tokenizer=tokenizer,
        batch_sequences=batch_sequences,
        batch_tokens=batch_tokens,
        progress=progress,
    )
    rows = zip(made.prompts, made.tokens, strict=True)
    return Data([np.concatenate([prompt, new]) for prompt, new in rows])


def _beginnings(model: OpenModel, prompts: Any, tokenizer: TokenizerSource | None) -> Sequence[Any]:
    if prompts is None:
        start = configured_tokens(model, "bos_token_id")
        if not start:
            raise ArgumentError(
                "the model's configuration names no start token (bos_token_id): give prompts"
            )
        return [start[:1]]
    if isinstance(prompts, Data):
        return prompts.sequences
    texts = [prompts] if isinstance(prompts, str) else prompts
    if isinstance(texts, np.ndarray) or not any(isinstance(text, str) for text in texts):
        return Data(texts).sequences
    if not all(isinstance(text, str) for text in texts):
        raise ArgumentError("prompts are texts or token ids, but not both")
    decoder = load_tokenizer(model if tokenizer is None else tokenizer)
    return [tokenize(decoder, text) for text in texts]
