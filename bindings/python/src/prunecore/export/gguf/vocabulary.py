# SPDX-License-Identifier: Apache-2.0
"""tokenizer.json in the words of llama.cpp: tokens, their kinds and scores, and how text is split.

Three kinds of tokenizers can be said: byte-level BPE ("gpt2"), the BPE of SentencePiece with spaces
as U+2581 ("llama"), and Unigram ("t5"). llama.cpp knows how text is split before BPE by name alone;
the names of the splits that the supported architectures use are here.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf

from prunecore._native.json_files import damage_named, read_json_object
from prunecore._native.reading import read_text
from prunecore.data.gguf_tokenizer.splits import GPT_4O, LLAMA_3, QWEN_2, TEKKEN
from prunecore.data.gguf_tokenizer.vocabulary import WHOLE_JSON
from prunecore.data.text import load_tokenizer
from prunecore.errors import FormatError, UnsupportedError

_SPACE = "\u2581"
_LEADING_SPACE = "text that begins with a space gets one more in front inside llama.cpp"
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
# Patterns of the Split before byte-level BPE, and what llama.cpp calls them.
_SPLITS = {LLAMA_3: "llama-bpe", QWEN_2: "qwen2", TEKKEN: "tekken", GPT_4O: "gpt-4o"}
# Under the one name, words that are tokens are taken whole; under the other, as merges make them.
_MERGED = {"llama-bpe": "dbrx"}


@dataclass
class Vocabulary:
    """A tokenizer as a GGUF file holds it.

    Attributes
    ----------
    model : {"gpt2", "llama", "t5"}
        `tokenizer.ggml.model`.
    split : str
        `tokenizer.ggml.pre`.
    tokens, scores, types : list
        One entry per row of the embedding. Scores: of "llama" and "t5".
    adds_space : bool or None
        Whether text gets a space in front; None = not said.
    charsmap : bytes
        Of the normaliser of Unigram.
    unknown : int or None
        Id of the token for what has no other.
    notes : list of str
        What a user should know.
    whole : str
        The text of tokenizer.json itself. llama.cpp does not read it, but says less than it does.
    """

    model: str
    split: str = "default"
    tokens: list[str] = field(default_factory=list)
    types: list[gguf.TokenType] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    adds_space: bool | None = None
    charsmap: bytes = b""
    unknown: int | None = None
    notes: list[str] = field(default_factory=list)
    whole: str = ""

    def add_to(self, writer: gguf.GGUFWriter, directory: Path) -> None:
        """Writes it, with special tokens and chat template of the directory."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.split)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.scores:
            writer.add_token_scores(self.scores)
        if self.adds_space is not None:
            writer.add_add_space_prefix(self.adds_space)
        if self.charsmap:
            writer.add_precompiled_charsmap(self.charsmap)
        if self.whole:
            writer.add_string(WHOLE_JSON, self.whole)
        special = _special_tokens(directory, self.model == "gpt2", len(self.tokens))
        if self.unknown is not None:
            special.special_token_ids["unk"] = self.unknown
        # What llama.cpp assumes where nothing is said differs by kind: so it is always said.
        special.add_special_token.update(_added_tokens(directory, special.special_token_ids))
        special.add_to_gguf(writer, quiet=True)


def read_vocabulary(directory: Path, rows: int) -> Vocabulary | None:
    """The tokenizer of a directory; None if it has none.

    Parameters
    ----------
    directory : Path
        Of the model.
    rows : int
        Of the embedding: tokens that the tokenizer lacks are filled in as unused.

    Raises
    ------
    UnsupportedError
        llama.cpp has no words for it; the text says what for.
    FileError, FormatError
        It is unreadable, or has tokens beyond the embedding.
    """
    path = directory / "tokenizer.json"
    if not path.is_file():
        return None
    content = read_json_object(path)
    try:
        with damage_named(path):
            made = _kind(content, content["model"])
            _fill(made, content, content["model"], rows, path)
            made.whole = read_text(path)
    except UnsupportedError as error:
        raise UnsupportedError(
            f"{path} cannot be said in GGUF: {error}. With tokenizer=False the file takes and "
            "gives token ids alone"
        ) from error
    return made


def _kind(content: Mapping[str, Any], model: Mapping[str, Any]) -> Vocabulary:
    kind = model.get("type")
    steps = list(_steps(content.get("pre_tokenizer"), "pretokenizers"))
    types = [step.get("type") for step in steps]
    if kind == "BPE" and "ByteLevel" in types:
        split = _split(steps)
        taken_whole = bool(model.get("ignore_merges"))
        return Vocabulary("gpt2", split=split if taken_whole else _MERGED.get(split, split))
    if kind == "BPE":
        # Where spaces are replaced before, as in Gemma, nothing is left to be split at them.
        return _sentencepiece(
            content, model, [step for step in steps if not _splits_at_spaces(step)]
        )
    if kind == "Unigram":
        return _unigram(content, steps)
    raise UnsupportedError(f"llama.cpp has no tokenizer of type {kind}")


def _split(steps: list[Mapping[str, Any]]) -> str:
    """What llama.cpp calls the way byte-level BPE splits text."""
    types = [step.get("type") for step in steps]
    if any(step.get("add_prefix_space") for step in steps):
        raise UnsupportedError("byte-level BPE that adds a space in front")
    if types == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if types == ["Digits", "ByteLevel"] and steps[1].get("use_regex", True):
        return "smollm"
    if types == ["Split", "ByteLevel"]:
        pattern = (steps[0].get("pattern") or {}).get("Regex")
        if pattern in _SPLITS:
            return _SPLITS[pattern]
    raise UnsupportedError("text is split before BPE in a way that has no name in llama.cpp")


def _sentencepiece(
    content: Mapping[str, Any], model: Mapping[str, Any], steps: list[Mapping[str, Any]]
) -> Vocabulary:
    """BPE over U+2581: llama.cpp merges the pair whose result has the highest score."""
    normalizers = list(_steps(content.get("normalizer"), "normalizers"))
    made = Vocabulary("llama")
    replaces = any(
        step.get("type") == "Replace" and step.get("content") == _SPACE for step in normalizers
    )
    metaspace = [step for step in steps if step.get("type") == "Metaspace"]
    if (not replaces and not metaspace) or len(metaspace) < len(steps):
        raise UnsupportedError("BPE that is neither byte-level nor that of SentencePiece")
    unknown = {step.get("type") for step in normalizers} - {"Prepend", "Replace"}
    if unknown:
        raise UnsupportedError(f"BPE after the normaliser {', '.join(map(str, unknown))}")
    made.adds_space = any(step.get("type") == "Prepend" for step in normalizers) or any(
        _prepends(step) for step in metaspace
    )
    if metaspace:
        made.notes.append(_LEADING_SPACE)
    vocabulary: Mapping[str, int] = model["vocab"]
    if sum(1 for token in vocabulary if _BYTE.fullmatch(token)) < 256:
        raise UnsupportedError("BPE of SentencePiece without the 256 tokens of bytes")
    ranks: dict[str, int] = {}
    listed: set[tuple[str, str]] = set()
    for rank, merge in enumerate(model["merges"]):
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        ranks.setdefault(left + right, rank)
        listed.add((left, right))
    # Only the order of scores matters. What no merge makes is never made by llama.cpp, either.
    worst = float(len(ranks) + len(listed) + 1)
    scores = {token: -float(ranks.get(token, worst)) for token in vocabulary}
    made.scores = [scores[token] for token in sorted(vocabulary, key=vocabulary.__getitem__)]
    loose = sum(
        1
        for token in ranks
        for cut in range(1, len(token))
        if token[:cut] in vocabulary
        and token[cut:] in vocabulary
        and (token[:cut], token[cut:]) not in listed
    )
    if loose:
        made.notes.append(
            f"llama.cpp can join {loose} pairs of tokens that tokenizer.json does not list as "
            "merges: some words may be split differently"
        )
    return made


def _splits_at_spaces(step: Mapping[str, Any]) -> bool:
    return step.get("type") == "Split" and (step.get("pattern") or {}).get("String") == " "


def _unigram(content: Mapping[str, Any], steps: list[Mapping[str, Any]]) -> Vocabulary:
    made = Vocabulary("t5")
    for step in _steps(content.get("normalizer"), "normalizers"):
        if step.get("type") == "Precompiled":
            made.charsmap = base64.b64decode(step.get("precompiled_charsmap") or "")
        elif step.get("type") != "Replace":
            raise UnsupportedError(f"Unigram after the normaliser {step.get('type')}")
    metaspace = [step for step in steps if step.get("type") == "Metaspace"]
    if len(metaspace) != 1:
        raise UnsupportedError("Unigram that does not split at spaces as SentencePiece does")
    made.adds_space = _prepends(metaspace[0])
    made.notes.append(_LEADING_SPACE)
    made.scores = [float(score) for _, score in content["model"]["vocab"]]
    return made


def _prepends(metaspace: Mapping[str, Any]) -> bool:
    scheme = metaspace.get("prepend_scheme")
    return scheme in ("always", "first") if scheme else bool(metaspace.get("add_prefix_space"))


def _steps(found: Any, inner: str) -> Iterator[Mapping[str, Any]]:
    """The steps of a normaliser or pre-tokenizer, sequences taken apart."""
    if isinstance(found, Mapping) and found.get("type") == "Sequence":
        for step in found.get(inner) or ():
            yield from _steps(step, inner)
    elif isinstance(found, Mapping):
        yield found


def _fill(
    made: Vocabulary, content: Mapping[str, Any], model: Mapping[str, Any], rows: int, path: Path
) -> None:
    """Tokens and their types in the order of their ids, as many as the embedding has rows."""
    vocabulary = model["vocab"]
    known = (
        {token: number for number, (token, _) in enumerate(vocabulary)}
        if isinstance(vocabulary, list)
        else dict(vocabulary)
    )
    by_id = {number: token for token, number in known.items()}
    added = {int(token["id"]): token for token in content.get("added_tokens") or ()}
    by_id.update({number: str(token["content"]) for number, token in added.items()})
    if max(by_id, default=-1) >= rows:
        raise FormatError(
            f"{path} has the token id {max(by_id)}, but the model's embedding has {rows} rows"
        )
    unknown = model.get("unk_token")
    made.unknown = model.get("unk_id") if unknown is None else known.get(unknown)
    scores = dict(zip(sorted(known.values()), made.scores, strict=False))
    for number in range(rows):
        token = by_id.get(number)
        made.tokens.append(f"[PAD{number}]" if token is None else token)
        made.types.append(_type(number, token, added.get(number), made))
    if made.scores:
        made.scores = [scores.get(number, -1e4) for number in range(rows)]


def _type(
    number: int, token: str | None, added: Mapping[str, Any] | None, made: Vocabulary
) -> gguf.TokenType:
    if token is None:
        return gguf.TokenType.UNUSED
    if number == made.unknown and made.model != "gpt2":
        return gguf.TokenType.UNKNOWN
    if added is not None:
        special = bool(added.get("special"))
        return gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
    if made.model != "gpt2" and _BYTE.fullmatch(token):
        return gguf.TokenType.BYTE
    return gguf.TokenType.NORMAL


def _special_tokens(directory: Path, with_merges: bool, rows: int) -> gguf.SpecialVocab:
    # It warns of templates for pairs of texts, which have no meaning here.
    logger = logging.getLogger("gguf.vocab")
    before, logger.disabled = logger.disabled, True
    try:
        return gguf.SpecialVocab(directory, load_merges=with_merges, n_vocab=rows)
    except Exception as error:  # whatever the package gguf meets in files that are damaged
        raise FormatError(
            f"what tokenizer.json and tokenizer_config.json of {directory} say of special tokens "
            f"cannot be read: {error}"
        ) from error
    finally:
        logger.disabled = before


def _added_tokens(directory: Path, special: Mapping[str, int]) -> dict[str, bool]:
    """Whether the tokenizer puts its first token in front of a text, and its last one after it."""
    tokenizer = load_tokenizer(directory)
    whole = tokenizer.encode("a").ids
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    front, back = whole[: len(whole) - len(bare)], whole[len(bare) :]
    return {
        "bos": whole != bare and bool(front) and front[0] == special.get("bos"),
        "eos": whole != bare and bool(back) and back[-1] == special.get("eos"),
    }
