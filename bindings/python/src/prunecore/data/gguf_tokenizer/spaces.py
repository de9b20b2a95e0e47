# SPDX-License-Identifier: Apache-2.0
"""What SentencePiece does with characters and spaces before it looks for tokens, and afterwards."""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, normalizers

from prunecore.data.gguf_tokenizer.charsmap import charsmap_normalizer
from prunecore.data.gguf_tokenizer.vocabulary import Vocabulary

SPACE = "\u2581"


def spaces_alone(vocabulary: Vocabulary) -> bool:
    """Whether nothing is changed in text but spaces into U+2581."""
    return vocabulary.adds_space is False and not (vocabulary.charsmap or vocabulary.merges_spaces)


def set_spaces(made: Tokenizer, vocabulary: Vocabulary, *, adds_space: bool) -> None:
    """Sets normaliser and decoder.

    Every stretch of text between special tokens is one text: it gets its own space in front, as in
    llama.cpp.

    Parameters
    ----------
    made : Tokenizer
        Changed in place.
    vocabulary : Vocabulary
        Of the file.
    adds_space : bool
        Whether text gets a space in front where the file does not say.
    """
    if vocabulary.adds_space is not None:
        adds_space = vocabulary.adds_space
    before: list[Any] = []
    if vocabulary.charsmap:
        before.append(charsmap_normalizer(vocabulary.charsmap))
    if vocabulary.merges_spaces:
        before.append(normalizers.Replace(Regex(rf"\A +|[ {SPACE}]+\z"), ""))
        before.append(normalizers.Replace(Regex(" {2,}"), " "))
    if adds_space:
        before.append(normalizers.Prepend(SPACE))
    before.append(normalizers.Replace(" ", SPACE))
    made.normalizer = normalizers.Sequence(before)
    after = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if adds_space:
        after.append(decoders.Strip(" ", 1, 0))
    made.decoder = decoders.Sequence(after)
