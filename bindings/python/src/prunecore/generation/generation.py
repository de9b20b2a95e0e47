# SPDX-License-Identifier: Apache-2.0
"""What a model wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.library import _check, ffi, lib, new_struct

if TYPE_CHECKING:
    from prunecore.data.token_rows import Tokens

_REASONS = {
    ffi.integer_const("PRUNE_END_STOP"): "stop",
    ffi.integer_const("PRUNE_END_LENGTH"): "length",
    ffi.integer_const("PRUNE_END_CONTEXT"): "context",
    ffi.integer_const("PRUNE_END_CALLBACK"): "callback",
}


@dataclass(frozen=True)
class GeneratedToken:
    """A token that was just written.

    Attributes
    ----------
    prompt : int
        Index of the prompt that it continues.
    index : int
        Its place among the new tokens of that prompt.
    token : int
        Its id.
    loss : float
        -log p(token | those before it), nats; temperature, top_k and top_p do not count.
    text : str
        The text that it made whole: may be "" where a character has more bytes to come. "" also
        where the model has no tokenizer.
    reason : str or None
        Why its sequence ends with it, as in `Generation.reasons`; None = it continues.
    """

    prompt: int
    index: int
    token: int
    loss: float
    text: str
    reason: str | None


TokenFunction = Callable[[GeneratedToken], object]
"""Called with every token; a true result ends its sequence, an exception ends the call."""


@dataclass(frozen=True)
class Generation:
    """What a model wrote after some prompts, in their order.

    Attributes
    ----------
    prompts : tuple of int32 arrays
        Token ids of the prompts.
    tokens : tuple of int32 arrays
        The new tokens, a stop token included.
    losses : tuple of float32 arrays
        Of each new token: -log p(token | those before it), nats; temperature, top_k and top_p do
        not count.
    reasons : tuple of str
        Why each ended: "stop" (a stop token or stop text), "length" (`max_new_tokens`), "context"
        (the model's context is full) or "callback" (`on_token`).
    texts : tuple of str, or None
        The text that each adds to its prompt, without special tokens and stop text. None if the
        model has no tokenizer.
    prompt_tokens : int
        Tokens of prompts that were computed.
    prompt_seconds : float
        For the prompts, and the first new token of each.
    decode_seconds : float
        For all further tokens.
    kv_bytes_peak : int
        Memory for keys and values of all sequences under way, at most; they are fp32.
    """

    prompts: tuple[Tokens, ...]
    tokens: tuple[Tokens, ...]
    losses: tuple[npt.NDArray[np.float32], ...]
    reasons: tuple[str, ...]
    texts: tuple[str, ...] | None
    prompt_tokens: int
    prompt_seconds: float
    decode_seconds: float
    kv_bytes_peak: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def new_tokens(self) -> int:
        """New tokens of all sequences."""
        return sum(len(row) for row in self.tokens)

    @property
    def seconds(self) -> float:
        """For everything."""
        return self.prompt_seconds + self.decode_seconds

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON: one record for each sequence, and what they took."""
        return {
            "sequences": [
                {
                    "prompt_tokens": prompt.tolist(),
                    "tokens": tokens.tolist(),
                    "losses": [float(loss) for loss in losses],
                    "reason": reason,
                    "text": None if self.texts is None else self.texts[index],
                }
                for index, (prompt, tokens, losses, reason) in enumerate(
                    zip(self.prompts, self.tokens, self.losses, self.reasons, strict=True)
                )
            ],
            "prompt_tokens": self.prompt_tokens,
            "new_tokens": self.new_tokens,
            "prompt_seconds": self.prompt_seconds,
            "decode_seconds": self.decode_seconds,
            "kv_bytes_peak": self.kv_bytes_peak,
        }


def reason_of(end: int) -> str | None:
    """The name of a PRUNE_END_* value; None for PRUNE_END_NONE."""
    return _REASONS.get(end)


def read_report(generation: Any) -> Any:
    """What generating took, as the C struct."""
    report = new_struct("prune_generation_summary")
    _check(lib.prune_generation_info(generation, report))
    return report


def read_sequence(
    generation: Any, prompt: int
) -> tuple[Tokens, npt.NDArray[np.float32], str | None]:
    """New tokens, their losses and why they ended, of one prompt."""
    count, end = ffi.new("size_t *"), ffi.new("int32_t *")
    arguments = generation, prompt
    status = lib.prune_generation_sequence(*arguments, ffi.NULL, ffi.NULL, 0, count, end)
    if status != lib.PRUNE_ERR_BUFFER:
        _check(status)
    tokens = np.empty(count[0], dtype=np.int32)
    losses = np.empty(count[0], dtype=np.float32)
    rows = ffi.from_buffer("int32_t[]", tokens), ffi.from_buffer("float[]", losses)
    _check(lib.prune_generation_sequence(*arguments, *rows, len(tokens), count, end))
    tokens.setflags(write=False)
    losses.setflags(write=False)
    return tokens, losses, reason_of(end[0])
