# SPDX-License-Identifier: Apache-2.0
"""The tokenizers of SentencePiece in GGUF files, against the package sentencepiece itself."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest
from gguf_vocabularies import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, write_vocabulary
from prunecore.data.gguf_tokenizer.tokenizer import tokenizer_of
from sentencepiece_files import BPE, charsmap_of, model_file
from tokenizer_texts import documents_of, varied_texts

sentencepiece = pytest.importorskip("sentencepiece")

NAMES = ("<s>", "</s>", "<unk>")
PAGES = ("README.md", "CONTRIBUTING.md", "docs/words.md", "docs/metrics.md")


def trained(root: Path, kind: str, **options: Any) -> bytes:
    """A small model file, trained on pages of the documentation."""
    file = io.BytesIO()
    lines = [line for page in documents_of(root, PAGES) for line in page.splitlines()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=file,
        model_type=kind,
        vocab_size=700,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return file.getvalue()


def written(path: Path, content: bytes, **values: Any) -> tuple[Path, Any]:
    """A GGUF file of a model file, and the processor of that."""
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(content)
    ids = range(processor.get_piece_size())
    kinds = [
        UNKNOWN if processor.is_unknown(token)
        else CONTROL if processor.is_control(token)
        else BYTE if processor.is_byte(token)
        else NORMAL
        for token in ids
    ]  # fmt: skip
    write_vocabulary(
        path,
        tokens=[processor.id_to_piece(token) for token in ids],
        scores=[processor.get_score(token) for token in ids],
        token_type=kinds,
        **values,
    )
    return path, processor


def check(made: Any, processor: Any, front: int, back: int = 0, without: str = "</s>") -> None:
    """Compares tokens and text on texts without special tokens, which sentencepiece leaves text,
    and without what the expression `without` finds.
    """
    left_out = re.compile("|".join((*NAMES, without)))
    texts = [text for text in varied_texts(500, seed=5) if not left_out.search(text)]
    assert len(texts) > 350
    for text in texts:
        ids = made.encode(text).ids
        bare = ids[front : len(ids) - back]
        wanted = processor.encode(text)
        assert bare == wanted or are_as_likely(processor, bare, wanted), text
        # What is unknown has no text here and a sign there; a U+2581 of the text is a space now.
        if processor.unk_id() not in bare and "\u2581" not in text:
            assert made.decode(ids) == processor.decode(bare), text


def are_as_likely(processor: Any, found: list[int], wanted: list[int]) -> bool:
    """Whether two ways to cut a text have the same pieces in another order: long runs of a sign.

    Unigram takes the likeliest way, and of several such the two packages take different ones.
    """
    return sorted(found) == sorted(wanted) and processor.decode(found) == processor.decode(wanted)


@pytest.mark.parametrize(
    ("adds_space", "merges_spaces", "bytes_"),
    [(True, False, True), (False, False, True), (True, True, True), (False, True, False)],
)
def test_bpe_is_that_of_sentencepiece(
    adds_space: bool, merges_spaces: bool, bytes_: bool, tmp_path: Path, repository_root: Path
) -> None:
    content = trained(
        repository_root,
        "bpe",
        normalization_rule_name="identity",
        byte_fallback=bytes_,
        add_dummy_prefix=adds_space,
        remove_extra_whitespaces=merges_spaces,
    )
    path, processor = written(
        tmp_path / "m.gguf",
        content,
        model="llama",
        add_space_prefix=adds_space,
        remove_extra_whitespaces=merges_spaces,
    )
    check(tokenizer_of(path), processor, front=1)


@pytest.mark.parametrize(
    ("rule", "merges_spaces", "bytes_"), [("nmt_nfkc", True, False), ("identity", False, True)]
)
def test_unigram_is_that_of_sentencepiece(
    rule: str, merges_spaces: bool, bytes_: bool, tmp_path: Path, repository_root: Path
) -> None:
    content = trained(
        repository_root,
        "unigram",
        normalization_rule_name=rule,
        byte_fallback=bytes_,
        remove_extra_whitespaces=merges_spaces,
    )
    charsmap = charsmap_of(content)
    assert bool(charsmap) == (rule != "identity")
    path, processor = written(
        tmp_path / "m.gguf",
        content,
        model="t5",
        unknown_token_id=0,
        eos_token_id=2,
        remove_extra_whitespaces=merges_spaces,
        **({"precompiled_charsmap": charsmap} if charsmap else {}),
    )
    # What the package tokenizers does otherwise: letters with several marks, and names of bytes.
    without = "[\u0300-\u036f]" if charsmap else "<0x"
    check(tokenizer_of(path), processor, front=0, back=1, without=without)


def rows(*words: str, kind: int = NORMAL) -> list[tuple[str, float, int]]:
    """A vocabulary of the special tokens, these words, and their letters after them."""
    letters = sorted({letter for word in words for letter in word} | {"\u2581", "x"})
    names = [(NAMES[2], 0.0, UNKNOWN), (NAMES[0], 0.0, CONTROL), (NAMES[1], 0.0, CONTROL)]
    bytes_ = [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    made = [*((word, kind) for word in words), *((x, NORMAL) for x in letters if x not in words)]
    return names + bytes_ + [(text, -float(rank), of) for rank, (text, of) in enumerate(made)]


def of_rows(path: Path, found: list[tuple[str, float, int]], **values: Any) -> Any:
    """The tokenizer of a vocabulary, through a GGUF file."""
    tokens, scores, kinds = map(list, zip(*found, strict=True))
    write_vocabulary(
        path, "llama", tokens=tokens, scores=scores, token_type=kinds,
        **({"add_space_prefix": False, "add_bos_token": False} | values),
    )  # fmt: skip
    return tokenizer_of(path)


def test_runs_of_spaces_that_users_defined_are_found_first(tmp_path: Path) -> None:
    """As in Gemma: the longest first, also beside a U+2581 that stands in the text."""
    runs = rows("\u2581\u2581\u2581", "\u2581\u2581", "\n\n", kind=USER_DEFINED)
    # GGUF files hold them as spaces.
    spaces = [(text.replace("\u2581", " ") if kind == USER_DEFINED else text, score, kind)
              for text, score, kind in runs]  # fmt: skip
    made = of_rows(tmp_path / "m.gguf", spaces)
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model_file(BPE, runs, adds_space=False))
    for text in ("x  x", "     x", " \u2581x", "x\n\n\n  \nx", "\u2581\u2581 \u2581", "é  "):
        assert made.encode(text).ids == processor.encode(text), text
        assert made.decode(made.encode(text).ids) == text.replace("\u2581", " ")


def test_special_tokens_in_text_are_those_tokens(tmp_path: Path) -> None:
    found = rows("ab", "\u2581ab", "</", "s>")
    made = of_rows(tmp_path / "a.gguf", found, add_space_prefix=True, add_bos_token=True)
    # Every stretch between special tokens gets its own space, as in llama.cpp.
    tokens = ["<s>", "\u2581ab", "</s>", "\u2581ab", "\u2581", "</", "x"]
    assert made.encode("ab</s>ab </x").tokens == tokens
    assert made.encode("").tokens == ["<s>"]
    assert made.decode(made.encode("ab</s>").ids) == "ab"
    # Nothing is merged into a special token, or out of bytes.
    tokens = ["<s>", "\u2581", "<", "<0x30>", "x", "<0x30>", "<0x41>", ">"]
    assert made.encode("<0x0A>").tokens == tokens


def test_what_llama_cpp_assumes_is_assumed(tmp_path: Path) -> None:
    """A space and the first token in front, where the file says nothing of them."""
    path = tmp_path / "m.gguf"
    tokens, scores, kinds = map(list, zip(*rows("ab", "\u2581ab"), strict=True))
    write_vocabulary(path, "llama", tokens=tokens, scores=scores, token_type=kinds)
    assert tokenizer_of(path).encode("ab").tokens == ["<s>", "\u2581ab"]


def test_bpe_over_characters_with_listed_merges(tmp_path: Path) -> None:
    """As in Gemma 4."""
    found = rows("ab", "\u2581ab", "a\n")
    tokens, scores, kinds = map(list, zip(*found, strict=True))
    path = write_vocabulary(
        tmp_path / "m.gguf", "gemma4", tokens=tokens, scores=scores, token_type=kinds,
        merges=["a b", "\u2581 ab", "a \n"], bos_token_id=1, unknown_token_id=0,
    )  # fmt: skip
    made = tokenizer_of(path)
    assert made.encode("ab ab é\n").tokens == [
        "<s>", "ab", "\u2581ab", "\u2581", "<0xC3>", "<0xA9>", "\n"
    ]  # fmt: skip
    text = "a b ab\n  é"
    assert made.decode(made.encode(text).ids) == text


@pytest.mark.parametrize(
    ("model", "values", "words"),
    [
        ("llama", {}, "holds no scores"),
        ("t5", {}, "holds no scores"),
        ("llama", {"scores": [0.0, float("nan")]}, "not finite"),
        ("llama", {"scores": [0.0]}, "1 numbers as tokenizer.ggml.scores, but 2 tokens"),
        ("llama", {"scores": "high"}, "must be a list of numbers"),
        ("llama", {"scores": [0.0, 1.0], "bos_token_id": 2}, "names the token 2"),
        ("llama", {"scores": [0.0, 1.0], "bos_token_id": "1"}, "must be a whole number"),
        (
            "t5",
            {"scores": [0.0, 1.0], "unknown_token_id": 0, "precompiled_charsmap": b"\x08\0\0\0a"},
            "damaged map",
        ),
        ("t5", {"scores": [0.0, 1.0]}, "names no token for what is unknown"),
        ("gpt2", {}, "holds no merges"),
        ("gpt2", {"merges": ["a b", "a c"]}, "'a c' .number 1., which does not join"),
        ("gpt2", {"merges": ["a"]}, "does not join"),
        ("gpt2", {"merges": [1, 2]}, "must be a list of texts"),
        ("gpt2", {"merges": ["a b"], "token_type": [1]}, "1 numbers as .*token_type"),
        ("gpt2", {"merges": ["a b"], "add_bos_token": True}, "asks for a token at the beginning"),
        ("gpt2", {"merges": ["a b"], "pre": 3}, "must be a text"),
    ],
)
def test_damaged_vocabularies_are_refused(
    model: str, values: dict, words: str, tmp_path: Path
) -> None:
    tokens = ["a", "b", "ab"] if "merges" in values else ["a", "b"]
    path = write_vocabulary(tmp_path / "m.gguf", model, tokens=tokens, **values)
    with pytest.raises(pc.FormatError, match=rf"m\.gguf .*{words}"):
        tokenizer_of(path)
