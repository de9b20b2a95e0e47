# SPDX-License-Identifier: Apache-2.0
"""The vocabulary of a GGUF file: its values, checked, with what llama.cpp assumes of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore._native.paths import shown
from prunecore.data.gguf_tokenizer.metadata import Metadata
from prunecore.errors import FormatError

PREFIX = "tokenizer."
_GGML = "tokenizer.ggml."
WHOLE_JSON = "tokenizer.huggingface.json"
"""Key of the whole tokenizer.json, which a file may hold beside llama.cpp's words for it."""
_DEFAULT_IDS = {"llama": {"bos": 1, "eos": 2, "unknown": 0}, "t5": {"eos": 1, "unknown": 2}}
# Tokens that end a turn, of files that do not say which one does.
_TURN_ENDS = frozenset(
    {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>"}
)


class TokenKind(IntEnum):
    """`tokenizer.ggml.token_type`."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file says of its tokenizer.

    Attributes
    ----------
    model : str
        `tokenizer.ggml.model`: "gpt2", "llama", "t5" or another.
    split : str
        `tokenizer.ggml.pre`; "default" where it is missing.
    tokens : list of str
        By id.
    kinds : array of int32
        Of each token, a `TokenKind` or a number that is none.
    scores : array of float64 or None
        Of each token.
    merges : list of str or None
        Two tokens each, with a space between.
    ids : dict of str to int
        Of the tokens that have a part: "bos", "eos", "unknown", "eot", "eom".
    adds : dict of str to bool
        Whether "bos" and "eos" are added; only what the file says.
    adds_space, merges_spaces : bool or None
        Whether text gets a space in front; whether runs of spaces become one, and those at its ends
        none. None = not said.
    charsmap : bytes
        The map of characters to apply before, as SentencePiece holds it.
    """

    model: str
    split: str
    tokens: list[str]
    kinds: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64] | None
    merges: list[str] | None
    ids: dict[str, int]
    adds: dict[str, bool]
    adds_space: bool | None
    merges_spaces: bool | None
    charsmap: bytes

    def of_kind(self, *kinds: TokenKind) -> Iterator[int]:
        """The ids of all tokens of these kinds, in their order."""
        yield from (int(token) for token in np.flatnonzero(np.isin(self.kinds, kinds)))

    def id_of(self, name: str) -> int | None:
        """The token with a part: what the file says, else what llama.cpp assumes for its model."""
        found = self.ids.get(name, _DEFAULT_IDS.get(self.model, {}).get(name))
        return found if found is not None and found < len(self.tokens) else None

    def ends(self) -> list[int]:
        """Ids of the tokens that end a text or a turn, that for texts first."""
        said = [self.id_of(name) for name in ("eos", "eot", "eom")]
        if "eot" not in self.ids:
            control = self.of_kind(TokenKind.CONTROL)
            said += [token for token in control if self.tokens[token] in _TURN_ENDS]
        return list(dict.fromkeys(token for token in said if token is not None))


def vocabulary_of(values: Metadata) -> Vocabulary | None:
    """The vocabulary that a file's values describe; None if the file says that it has none.

    Raises
    ------
    FormatError
        A value is of another type or length than it must be, or names a token that is not there.
        The text does not name the file.
    """
    model = _typed(values, "model", str)
    if model is None or model in ("none", "no_vocab"):
        return None
    tokens = _texts(values, "tokens")
    if not tokens:
        raise FormatError(f"holds no tokens, {_GGML}tokens")
    # Vocabularies have a few such rows; each needs a text of its own.
    tokens = [token or f"[EMPTY_{number}]" for number, token in enumerate(tokens)]
    kinds = _numbers(values, "token_type", len(tokens), "iu")
    scores = _numbers(values, "scores", len(tokens), "iuf")
    if scores is not None and not np.isfinite(scores).all():
        raise FormatError(f"holds a score that is not finite, {_GGML}scores")
    ids = {}
    for name in ("bos", "eos", "unknown", "eot", "eom"):
        token = _typed(values, f"{name}_token_id", int)
        if token is not None and not 0 <= token < len(tokens):
            raise FormatError(
                f"names the token {token}, {_GGML}{name}_token_id, but has {len(tokens)} tokens"
            )
        if token is not None:
            ids[name] = token
    adds = {name: _typed(values, f"add_{name}_token", bool) for name in ("bos", "eos")}
    normal = np.full(len(tokens), TokenKind.NORMAL, dtype=np.int32)
    return Vocabulary(
        model=model,
        split=_typed(values, "pre", str) or "default",
        tokens=tokens,
        kinds=normal if kinds is None else kinds.astype(np.int32),
        scores=None if scores is None else scores.astype(np.float64),
        merges=_texts(values, "merges"),
        ids=ids,
        adds={name: added for name, added in adds.items() if added is not None},
        adds_space=_typed(values, "add_space_prefix", bool),
        merges_spaces=_typed(values, "remove_extra_whitespaces", bool),
        charsmap=_charsmap(values),
    )


def _typed(values: Metadata, name: str, kind: type) -> Any:
    found = values.get(_GGML + name)
    if found is not None and type(found) is not kind:
        noun = {str: "a text", int: "a whole number", bool: "true or false"}[kind]
        raise FormatError(f"holds {shown(found)} as {_GGML}{name}, which must be {noun}")
    return found


def _texts(values: Metadata, name: str) -> list[str] | None:
    found = values.get(_GGML + name)
    if found is not None and not isinstance(found, list):
        raise FormatError(f"holds {shown(found)} as {_GGML}{name}, which must be a list of texts")
    return found


def _numbers(values: Metadata, name: str, count: int, kinds: str) -> npt.NDArray[Any] | None:
    found = values.get(_GGML + name)
    if found is None:
        return None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in kinds:
        raise FormatError(f"holds {shown(found)} as {_GGML}{name}, which must be a list of numbers")
    if len(found) < count:
        raise FormatError(f"holds {len(found)} numbers as {_GGML}{name}, but {count} tokens")
    return found[:count]


def _charsmap(values: Metadata) -> bytes:
    name = "precompiled_charsmap"
    found = values.get(_GGML + name)
    if found is None:
        return b""
    if not isinstance(found, np.ndarray) or found.dtype.itemsize != 1:
        raise FormatError(f"holds {shown(found)} as {_GGML}{name}, which must be a list of bytes")
    return found.tobytes()
