# SPDX-License-Identifier: Apache-2.0
"""The Unigram tokenizer of SentencePiece, of T5 and its kind: the likeliest pieces of a text."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers

from prunecore.data.gguf_tokenizer.spaces import SPACE, set_spaces
from prunecore.data.gguf_tokenizer.vocabulary import TokenKind, Vocabulary
from prunecore.errors import FormatError

_BYTES = 256
_NEVER = -1e6
"""Score of a token that text is never split into by itself; any way around it is better."""


def unigram(vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer that a vocabulary with log probabilities describes."""
    if vocabulary.scores is None:
        raise FormatError("holds no scores of its tokens, tokenizer.ggml.scores")
    unknown = vocabulary.id_of("unknown")
    if unknown is None:
        raise FormatError("names no token for what is unknown, tokenizer.ggml.unknown_token_id")
    found_elsewhere = set(vocabulary.of_kind(TokenKind.CONTROL, TokenKind.UNKNOWN, TokenKind.BYTE))
    scores = vocabulary.scores.tolist()
    rows = [
        (token, scores[number] if number not in found_elsewhere else _NEVER)
        for number, token in enumerate(vocabulary.tokens)
    ]
    n_bytes = len(list(vocabulary.of_kind(TokenKind.BYTE)))
    made = Tokenizer(models.Unigram(rows, unknown, byte_fallback=n_bytes == _BYTES))
    set_spaces(made, vocabulary, adds_space=True)
    # Words can be looked at one by one, which is faster, where no token goes over a space.
    if not any(SPACE in token[1:] for token in vocabulary.tokens):
        made.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=True)
    return made
