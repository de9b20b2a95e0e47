# SPDX-License-Identifier: Apache-2.0
"""The Unigram tokenizer of SentencePiece, of T5 and its kind: the likeliest pieces of a text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, models, pre_tokenizers

from prunecore.data.gguf_tokenizer.spaces import SPACE, set_spaces
from prunecore.data.gguf_tokenizer.vocabulary import TokenKind, Vocabulary
from prunecore.errors import FormatError

_BYTES = 256


def unigram(vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer that a vocabulary with log probabilities describes."""
    if vocabulary.scores is None:
        raise FormatError("holds no scores of its tokens, tokenizer.ggml.scores")
    unknown = vocabulary.id_of("unknown")
    if unknown is None:
        raise FormatError("names no token for what is unknown, tokenizer.ggml.unknown_token_id")
    scores = _scores(vocabulary, vocabulary.scores)
    rows = list(zip(vocabulary.tokens, scores.tolist(), strict=True))
    n_bytes = len(list(vocabulary.of_kind(TokenKind.BYTE)))
    made = Tokenizer(models.Unigram(rows, unknown, byte_fallback=n_bytes == _BYTES))
    set_spaces(made, vocabulary, adds_space=True)
    # Words can be looked at one by one, which is faster, where no token goes over a space.
    if not any(SPACE in token[1:] for token in vocabulary.tokens):
        made.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=True)
    return made


def _scores(vocabulary: Vocabulary, given: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The scores, but for tokens that text is not split into: theirs make no difference.

    What is unknown is a little less likely than the least likely of all. The exception is a text
    that names a byte, such as "<0x0A>": it may become that byte, as in the package tokenizers.
    """
    apart = np.isin(vocabulary.kinds, (TokenKind.CONTROL, TokenKind.UNKNOWN, TokenKind.BYTE))
    made = given.copy()
    made[apart] = given[~apart].min(initial=0.0)
    return made
