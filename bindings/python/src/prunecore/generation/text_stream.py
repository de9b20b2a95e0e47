# SPDX-License-Identifier: Apache-2.0
"""Text as its tokens come in, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

INCOMPLETE = "\ufffd"
"""What decoders put for bytes that are not, or not yet, a whole UTF-8 character."""

CONTEXT_TOKENS = 8
"""Tokens before the first new one that its text may depend on: decoders join words and spaces."""

MOST_INCOMPLETE = 16
"""Tokens that may wait for the rest of a character; more of them are not text."""


class TextStream:
    """Turns new tokens into the text that they add to a prompt.

    Characters come out once all of their bytes are there. Special tokens are left out. Text that
    may be the beginning of a stop text is held back until it is known not to be.

    Parameters
    ----------
    tokenizer : Tokenizer
        What decodes.
    prompt : sequence of int
        Token ids before the first new one.
    stops : iterable of str
        Texts with which the stream ends; they do not come out.

    Attributes
    ----------
    text : str
        All that came out.
    stopped : bool
        Whether a stop text was met.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt: Sequence[int], stops: Iterable[str] = ()
    ) -> None:
        self.text = ""
        self.stopped = False
        self._tokenizer = tokenizer
        self._stops = tuple(stops)
        self._ids = [int(token) for token in prompt][-CONTEXT_TOKENS:]
        self._read = len(self._ids)  # tokens whose text is known
        self._held = ""

    def feed(self, token: int) -> str:
        """The text that a token makes whole."""
        self._ids.append(int(token))
        return self._advance(last=False)

    def finish(self) -> str:
        """What was held back, once there are no more tokens."""
        return self._advance(last=True)

    def _advance(self, last: bool) -> str:
        if self.stopped:
            return ""
        text = self._decode(self._ids)
        waiting = len(self._ids) - self._read
        if last or waiting > MOST_INCOMPLETE or not text.endswith(INCOMPLETE):
            before = self._decode(self._ids[: self._read])
            # A prompt may end amid a character: with its other bytes, the text before is another.
            self._held += text[len(before) :] if text.startswith(before) else text
            self._ids = self._ids[-CONTEXT_TOKENS:]
            self._read = len(self._ids)
        ends = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if ends:
            self.stopped = True
            out = self._held[: min(ends)]
        else:
            out = self._held[: len(self._held) - (0 if last else self._begun())]
        self._held = self._held[len(out) :]
        self.text += out
        return out

    def _begun(self) -> int:
        """Characters at the end of the held text that a stop text may begin with."""
        longest = max((len(stop) for stop in self._stops), default=0)
        for count in range(min(longest - 1, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-count:]) for stop in self._stops):
                return count
        return 0

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True) if ids else ""
