# SPDX-License-Identifier: Apache-2.0
"""Tokenizers of GGUF files that people use, against transformers and sentencepiece."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from prunecore.data.gguf_tokenizer.metadata import read_metadata
from prunecore.data.gguf_tokenizer.tokenizer import special_tokens_of, tokenizer_of
from prunecore.data.gguf_tokenizer.vocabulary import vocabulary_of
from real_models import real_model
from sentencepiece_files import BPE, model_file
from tokenizer_texts import documents_of, varied_texts
from tokenizers import Tokenizer, pre_tokenizers

DOCUMENTS = ("README.md", "Makefile", "docs/words.md", "include/prunecore.h", "CHANGELOG.md")
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


@pytest.fixture(scope="module")
def texts(repository_root: Path) -> list[str]:
    return varied_texts(1000, seed=1) + documents_of(repository_root, DOCUMENTS)


def of_transformers(path: Path) -> Tokenizer:
    """What transformers makes of the file, as a tokenizer of the package tokenizers."""
    transformers = pytest.importorskip("transformers")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    found = transformers.AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    made: Tokenizer = found.backend_tokenizer
    return made


def differences(made: Tokenizer, other: Any, texts: list[str]) -> list[str]:
    """The texts of which two tokenizers make different tokens."""
    return [text for text in texts if made.encode(text).ids != other(text)]


def test_tokens_of_smollm2_are_those_of_transformers(texts: list[str]) -> None:
    path = real_model("smollm2")
    made, other = tokenizer_of(path), of_transformers(path)
    # transformers leaves out the first step of this model's tokenizer.json: digits stand alone.
    without_digits = [text for text in texts if not re.search(r"[^\D]|[\u00b2-\u00be]", text)]
    assert len(without_digits) > 300
    assert not differences(made, lambda text: other.encode(text).ids, without_digits)
    other.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), other.pre_tokenizer]
    )
    assert not differences(made, lambda text: other.encode(text).ids, texts)
    # Text comes back: byte-level tokens hold every character.
    for text in texts:
        assert made.decode(made.encode(text).ids, skip_special_tokens=False) == text


def test_smollm2_ends_turns() -> None:
    assert special_tokens_of(real_model("smollm2")) == {
        "bos_token_id": [1],
        "eos_token_id": [2, 0],
    }


@pytest.mark.gemma
def test_tokens_of_gemma_are_those_of_sentencepiece(texts: list[str]) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    path = real_model("gemma3")
    found = vocabulary_of(read_metadata(path, ("tokenizer.",)))
    assert found is not None and found.scores is not None
    # The file of SentencePiece again: runs of spaces are U+2581 there, and special tokens are
    # among those that it looks for in text.
    rows = zip(found.tokens, found.scores.tolist(), found.kinds.tolist(), strict=True)
    pieces = [
        (
            token.replace(" ", "\u2581") if kind == USER_DEFINED else token,
            score if kind == NORMAL else 0.0,
            USER_DEFINED if kind == CONTROL else kind,
        )
        for token, score, kind in rows
    ]
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model_file(BPE, pieces, adds_space=False, ids=(3, 2, 1)))
    assert not differences(tokenizer_of(path), lambda text: [2, *processor.encode(text)], texts)


@pytest.mark.gemma
def test_tokens_of_gemma_are_those_of_transformers(texts: list[str]) -> None:
    path = real_model("gemma3")
    made, other = tokenizer_of(path), of_transformers(path)
    found = differences(made, lambda text: other.encode(text).ids, texts)
    # The longest token of spaces has 31 of them. SentencePiece takes as many as it can from a
    # longer run, and llama.cpp does; merges cut it elsewhere.
    long_runs = re.compile("[ \u2581]{32}")
    assert not [text for text in found if not long_runs.search(text)]
    assert len(found) < len(texts) / 20
