# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of a GGUF file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, processors

from prunecore._native.json_files import damage_named
from prunecore._native.paths import unreadable
from prunecore.data.gguf_tokenizer.byte_pairs import (
    RAW_SPLITS,
    byte_level,
    listed_pairs,
    scored_pairs,
    split_of,
)
from prunecore.data.gguf_tokenizer.metadata import named, read_metadata
from prunecore.data.gguf_tokenizer.spaces import spaces_alone
from prunecore.data.gguf_tokenizer.unigram import unigram
from prunecore.data.gguf_tokenizer.vocabulary import (
    PREFIX,
    WHOLE_JSON,
    TokenKind,
    Vocabulary,
    vocabulary_of,
)
from prunecore.errors import Error, FileError, FormatError, UnsupportedError

_KINDS: dict[str, Callable[[Vocabulary], Tokenizer]] = {
    "gpt2": byte_level,
    "gemma4": listed_pairs,
    "llama": scored_pairs,
    "t5": unigram,
}


def tokenizer_of(path: Path) -> Tokenizer:
    """The tokenizer of a GGUF file, or of the first of several that make a model.

    It gives the tokens of the original model's tokenizer as far as the file says what that was, and
    those of llama.cpp else. Special tokens that stand in a text are recognised. The one returned is
    shared by all who ask for the same file: do not change it.

    Raises
    ------
    FileError
        The file is missing or unreadable, or holds no tokenizer.
    FormatError
        It is damaged.
    UnsupportedError
        Its tokenizer is of a kind that is not known.
    """
    tokenizer = _tokenizer(*_identity(path))
    if tokenizer is None:
        raise FileError(
            f"{path} holds no tokenizer: give that of the model that it was made from, or token ids"
        )
    return tokenizer


def special_tokens_of(path: Path) -> dict[str, list[int]]:
    """Ids of the tokens of a GGUF file that begin a text, and that end one or a turn.

    They have the names of generation_config.json: "bos_token_id", "eos_token_id". Raises as
    `tokenizer_of`, but for a file without a tokenizer or with one that is not known.
    """
    vocabulary, _ = _described(*_identity(path))
    if vocabulary is None:
        return {}
    begins = vocabulary.id_of("bos")
    return {
        "bos_token_id": [] if begins is None else [begins],
        "eos_token_id": vocabulary.ends(),
    }


def _identity(path: Path) -> tuple[Path, int, int]:
    """What tells a file from a later one in its place."""
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    if not path.is_file():
        raise FileError(f"{path} is not a file")
    return path.resolve(), found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _described(path: Path, _time: int, _size: int) -> tuple[Vocabulary | None, str | None]:
    """The vocabulary of a file, and the whole tokenizer.json in it; None = not in it."""
    values = read_metadata(path, (PREFIX,))
    with _named(path):
        whole = values.get(WHOLE_JSON)
        if whole is not None and not isinstance(whole, str):
            raise FormatError(f"holds something else than a text as {WHOLE_JSON}")
        return vocabulary_of(values), whole


@lru_cache(maxsize=4)
def _tokenizer(path: Path, time: int, size: int) -> Tokenizer | None:
    vocabulary, whole = _described(path, time, size)
    with _named(path):
        if whole is not None:
            return Tokenizer.from_str(whole)
        if vocabulary is None:
            return None
        made = _kind(vocabulary)(vocabulary)
        _add_special_tokens(made, vocabulary)
        _add_ends(made, vocabulary)
        return made


def _kind(vocabulary: Vocabulary) -> Callable[[Vocabulary], Tokenizer]:
    found = _KINDS.get(vocabulary.model)
    if found is None:
        raise UnsupportedError(
            f"has a tokenizer of the kind {vocabulary.model[:60]!r} (tokenizer.ggml.model), which "
            "is not known: give that of the model that it was made from"
        )
    return listed_pairs if found is byte_level and vocabulary.split in RAW_SPLITS else found


def _add_special_tokens(made: Tokenizer, vocabulary: Vocabulary) -> None:
    """Makes texts that name control tokens, and what users defined, into those tokens."""
    for kinds, special in (
        ((TokenKind.CONTROL, TokenKind.UNKNOWN), True),
        ((TokenKind.USER_DEFINED,), False),
    ):
        # SentencePiece looks for what users defined, such as runs of spaces, where spaces are
        # U+2581 already. A space in front would become a part of the token here.
        after = not special and vocabulary.model == "llama" and spaces_alone(vocabulary)
        found = [
            AddedToken(vocabulary.tokens[token], normalized=after, special=special)
            for token in vocabulary.of_kind(*kinds)
        ]
        (made.add_special_tokens if special else made.add_tokens)(found)


def _add_ends(made: Tokenizer, vocabulary: Vocabulary) -> None:
    """Puts the first token in front of every text, and the last one after it, where it is asked."""
    pieces = ["$A"]
    ids: list[dict[str, Any]] = []
    for name, key in (("bos", "beginning"), ("eos", "end")):
        if not vocabulary.adds.get(name, _adds(vocabulary, name)):
            continue
        token = vocabulary.id_of(name)
        if token is None and name not in vocabulary.adds:
            continue
        if token is None:
            raise FormatError(f"asks for a token at the {key} of every text, but names none")
        # Called by its part, since texts of tokens may mean something else in a template.
        ids.append({"id": name, "ids": [token], "tokens": [vocabulary.tokens[token]]})
        pieces.insert(0 if name == "bos" else len(pieces), name)
    if ids:
        made.post_processor = processors.TemplateProcessing(pieces, special_tokens=ids)


def _adds(vocabulary: Vocabulary, name: str) -> bool:
    """Whether a token is added where the file does not say."""
    if vocabulary.model == "gpt2" and vocabulary.split not in RAW_SPLITS:
        return name == "bos" and split_of(vocabulary).adds_bos
    return (vocabulary.model, name) in {("llama", "bos"), ("gemma4", "bos"), ("t5", "eos")}


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Names the file in errors. The package tokenizers raises plain Exception, and panics."""
    try:
        with damage_named(path):
            yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except (FormatError, UnsupportedError) as error:
        raise named(path, error) from error
    except Error:
        raise
    except BaseException as error:
        raise FormatError(f"{path} holds a tokenizer that cannot be used: {error}") from error
