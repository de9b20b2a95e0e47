# SPDX-License-Identifier: Apache-2.0
"""Tokenizers that merge pairs: byte-level BPE, and BPE over characters with spaces as U+2581."""

from __future__ import annotations

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from prunecore.data.gguf_tokenizer.spaces import set_spaces
from prunecore.data.gguf_tokenizer.splits import SPLITS, Split
from prunecore.data.gguf_tokenizer.vocabulary import TokenKind, Vocabulary
from prunecore.errors import FormatError, UnsupportedError

RAW_SPLITS = ("gemma4", "sarvam-moe")
"""Names in `tokenizer.ggml.pre` of BPE that is listed as merges, but over characters."""

Pair = tuple[str, str]


def byte_level(vocabulary: Vocabulary) -> Tokenizer:
    """Byte-level BPE: of GPT-2, Llama 3, Qwen and many more."""
    split = split_of(vocabulary)
    ids = _ids(vocabulary)
    merges = _listed(vocabulary, ids)
    made = Tokenizer(models.BPE(vocab=ids, merges=merges, ignore_merges=split.whole_words))
    if split.composes:
        made.normalizer = normalizers.NFC()
    steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in split.patterns]
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([*steps, last])
    made.decoder = decoders.ByteLevel()
    return made


def split_of(vocabulary: Vocabulary) -> Split:
    """How text is split before byte-level BPE. Raises `UnsupportedError` for an unknown name."""
    found = SPLITS.get(vocabulary.split)
    if found is None:
        raise UnsupportedError(
            f"splits text by {vocabulary.split[:60]!r} (tokenizer.ggml.pre), which is not known: "
            "give the tokenizer of the model that it was made from"
        )
    return found


def scored_pairs(vocabulary: Vocabulary) -> Tokenizer:
    """The BPE of SentencePiece: the pair whose result has the highest score is merged first."""
    if vocabulary.scores is None:
        raise FormatError("holds no scores of its tokens, tokenizer.ggml.scores")
    return _over_characters(vocabulary, _scored(vocabulary))


def listed_pairs(vocabulary: Vocabulary) -> Tokenizer:
    """BPE over characters whose merges are listed, as in Gemma 4."""
    return _over_characters(vocabulary, _listed(vocabulary, _ids(vocabulary)))


def _over_characters(vocabulary: Vocabulary, merges: list[Pair]) -> Tokenizer:
    unknown = vocabulary.id_of("unknown")
    made = Tokenizer(
        models.BPE(
            vocab=_ids(vocabulary),
            merges=merges,
            unk_token=None if unknown is None else vocabulary.tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    set_spaces(made, vocabulary, adds_space=vocabulary.model == "llama")
    return made


def _ids(vocabulary: Vocabulary) -> dict[str, int]:
    """Of two tokens with the same text the later one is meant, as in llama.cpp."""
    return {token: number for number, token in enumerate(vocabulary.tokens)}


def _listed(vocabulary: Vocabulary, ids: dict[str, int]) -> list[Pair]:
    if vocabulary.merges is None:
        raise FormatError("holds no merges of its tokens, tokenizer.ggml.merges")
    made = []
    for number, merge in enumerate(vocabulary.merges):
        at = merge.find(" ", 1)  # a space in front is part of the first token
        left, right = merge[:at], merge[at + 1 :]
        if at < 0 or left not in ids or right not in ids or left + right not in ids:
            raise FormatError(
                f"holds the merge {merge[:60]!r} (number {number}), which does not join two tokens "
                "to a third one"
            )
        made.append((left, right))
    return made


def _scored(vocabulary: Vocabulary) -> list[Pair]:
    """All pairs of tokens whose result is one, those with higher scores first."""
    assert vocabulary.scores is not None
    # Control tokens and bytes are made by nothing; what users define is found before.
    parts = set(vocabulary.of_kind(TokenKind.NORMAL, TokenKind.UNDEFINED))
    ids = {vocabulary.tokens[token]: token for token in sorted(parts)}
    order = np.argsort(-vocabulary.scores, kind="stable")
    made: list[Pair] = []
    for number in order.tolist():
        if number in parts:
            made += _cuts(vocabulary.tokens[number], ids)
    return made


def _cuts(token: str, ids: dict[str, int]) -> list[Pair]:
    """All ways to cut a token into two others, ordered by those."""
    found = [
        (ids[left], ids[right], left, right)
        for cut in range(1, len(token))
        if (left := token[:cut]) in ids and (right := token[cut:]) in ids
    ]
    return [(left, right) for _, _, left, right in sorted(found)]
