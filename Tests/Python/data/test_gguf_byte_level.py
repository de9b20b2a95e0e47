# SPDX-License-Identifier: Apache-2.0
"""Byte-level BPE of GGUF files: how text is split, merged and joined, and what is put around it."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from gguf_vocabularies import BYTES, byte_level, pieces
from prunecore.data.gguf_tokenizer.splits import SPLITS
from prunecore.data.gguf_tokenizer.tokenizer import tokenizer_of
from tokenizer_texts import varied_texts
from tokenizers import Regex, Tokenizer, pre_tokenizers

TEXT = "I'LL don't  12345 aB,2½\n\n  /的です e\u0301x 한!\n"
# By hand, from the patterns of the models: one row for each way to split, pieces between bars.
SPLIT_TEXTS = {
    "gpt-2": "I|'|LL| don|'t| | 12345| aB|,|2½|\n\n | /|的です| e|\u0301|x| 한|!|\n",
    "default": "I|'|LL| don|'|t| | |123|45| aB|,|2½|\n\n  |/|的です| e|\u0301|x| 한|!|\n",
    "falcon": "I|'|LL| don|'|t| | |123|45| aB|,|2½|\n\n  |/|的です| e|\u0301|x| 한|!|\n",
    "starcoder": "I|'|LL| don|'t|  |1|2|3|4|5| aB|,|2|½|\n\n | /|的です| e|\u0301|x| 한|!|\n",
    "llama-bpe": "I|'LL| don|'t| | |123|45| aB|,|2½|\n\n| | /|的です| e|\u0301x| 한|!\n",
    "qwen2": "I|'LL| don|'t| | |1|2|3|4|5| aB|,|2|½|\n\n| | /|的です| e|\u0301x| 한|!\n",
    "qwen35": "I|'LL| don|'t| | |1|2|3|4|5| aB|,|2|½|\n\n| | /|的です| e\u0301x| 한|!\n",
    "seed-coder": "I|'LL| don|'t| | |1|2|3|4|5| aB|,|2|½|\n\n| | /|的です| e|\u0301x| 한|!|\n",
    "tekken": "I|'LL| don|'t| | |1|2|3|4|5| a|B|,|2|½|\n\n| | /|的です| e\u0301x| 한|!\n",
    "gpt-4o": "I'LL| don't| | |123|45| a|B|,|2½|\n\n| | /|的です| e\u0301x| 한|!\n",
    "tiny_aya": "I'LL| don't|  |12|345| a|B|,|2½|\n\n| | /|的です| e\u0301x| 한|!\n",
    "deepseek-v3": "I|'LL| don|'t|  |123|45| aB|,|2½|\n\n| | /|的です| e\u0301x| 한|!\n",
    "spark2_5": "I|'LL| don|'t|  |1|2|3|4|5| aB|,|2|½|\n|\n| | /|的です| e\u0301x| 한|!|\n",
    "youtu": "I'LL| don't| | |1|2|3|4|5| a|B|,|2|½|\n\n| | /|的です| e\u0301x| |한|!\n",
    "jais-2": "I|'LL| don|'t| | |123|45| aB|,|2½|\n\n| | /|的です| e|\u0301x| 한|!\n",
    "deepseek-coder": (
        "I|'|LL| don|'|t|  |1|2|3|4|5| aB|,|2|½|\n|\n| | /|的です| e|\u0301|x| |한|!|\n"
    ),
    "deepseek-llm": "I|'|LL| don|'|t|  |12345| aB|,|2½|\n|\n| | /|的です| e|\u0301|x| |한|!|\n",
    "bloom": "I'LL| don't| | 12345| aB|,|2½|\n\n | /的です| e\u0301x| 한|!\n",
    "viking": "I'LL| don't| | |1|2|3|4|5| aB|,|2|½|\n\n | /的です| e\u0301x| 한|!\n",
    "bailingmoe": "I|'LL| don|'t| | |1|2|3|4|5| aB|,|2|½|\n\n| | /|的です| e|\u0301x| 한|!\n",
    "minicpm5": "I|'LL| don|'t|  |123|45| aB|,|2½|\n\n| | /|的です| e|\u0301x| 한|!\n",
    "superbpe": "I'LL don't  |12|345| aB,|2½|\n\n  /的です e\u0301x 한!\n",
}


@pytest.mark.parametrize("name", SPLIT_TEXTS)
def test_text_is_split_as_the_model_splits_it(name: str, tmp_path: Path) -> None:
    made = tokenizer_of(byte_level(tmp_path / "m.gguf", name))
    composed = made.normalizer.normalize_str(TEXT) if made.normalizer else TEXT
    wanted = SPLIT_TEXTS[name]
    if SPLITS[name].composes:
        wanted = wanted.replace("e|\u0301", "\u00e9").replace("e\u0301", "\u00e9")
    encode = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_of = [encode.pre_tokenize_str(piece)[0][0] for piece in wanted.split("|")]
    assert pieces(made, composed) == bytes_of


def test_every_split_takes_every_text(tmp_path: Path) -> None:
    """No pattern is refused by the engine, and none loses a character."""
    texts = varied_texts(30, seed=3)
    path = tmp_path / "m.gguf"
    for name, split in SPLITS.items():
        made = tokenizer_of(byte_level(path, name))
        for text in texts:
            if not split.composes:
                assert made.decode(made.encode(text).ids, skip_special_tokens=False) == text, name
        path.unlink()


STEPS = {
    # In the steps that the package tokenizers has for files tokenizer.json.
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "falcon": [
        pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
    ],
    "bloom": [
        pre_tokenizers.Split(Regex(" ?[^(\\s|[.,!?…。，、।۔،])]+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
    "deepseek-coder": [
        pre_tokenizers.Split(Regex("[\r\n]"), "isolated"),
        pre_tokenizers.Split(Regex(r"\s?\p{L}+"), "isolated"),
        pre_tokenizers.Split(Regex(r"\s?\p{P}+"), "isolated"),
        pre_tokenizers.Split(Regex("[一-龥\u0800-一가-\ud7ff]+"), "isolated"),
        pre_tokenizers.Digits(True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}


@pytest.mark.parametrize("name", STEPS)
def test_splits_are_those_of_the_steps_of_tokenizers(name: str, tmp_path: Path) -> None:
    made = tokenizer_of(byte_level(tmp_path / "m.gguf", name))
    steps = pre_tokenizers.Sequence(STEPS[name])
    for text in varied_texts(300, seed=4):
        assert pieces(made, text) == [piece for piece, _ in steps.pre_tokenize_str(text)], text


def test_merges_are_applied_in_their_order(tmp_path: Path) -> None:
    made = tokenizer_of(byte_level(tmp_path / "m.gguf"))
    assert made.encode("ab ab a 1234").tokens == ["ab", "Ġ", "ab", "Ġa", "Ġ", "123", "4"]
    assert made.encode("x<|end|>  <tool>\n\n").tokens == ["x", "<|end|>", "ĠĠ", "<tool>", "ĊĊ"]
    assert made.decode(made.encode("a<|end|>b").ids) == "ab"
    assert not made.get_added_tokens_decoder()[264].special  # the user's


def test_words_are_taken_whole_where_the_name_says_so(tmp_path: Path) -> None:
    tokens = [*BYTES, "abc", "12"]
    whole = byte_level(tmp_path / "a.gguf", "llama-bpe", tokens=tokens, token_type=[1] * 258,
                       merges=["1 2"], add_bos_token=False)  # fmt: skip
    assert tokenizer_of(whole).encode("abc").tokens == ["abc"]
    merged = byte_level(tmp_path / "b.gguf", "dbrx", tokens=tokens, token_type=[1] * 258,
                        merges=["1 2"])  # fmt: skip
    assert tokenizer_of(merged).encode("abc").tokens == ["a", "b", "c"]


def test_text_is_composed_for_the_models_that_do(tmp_path: Path) -> None:
    for name, tokens in (("qwen2", ["Ã", "©"]), ("gpt-2", ["e", "Ì", "ģ"])):
        made = tokenizer_of(byte_level(tmp_path / f"{name}.gguf", name))
        assert made.encode("e\u0301").tokens == tokens


@pytest.mark.parametrize(
    ("pre", "values", "wanted"),
    [
        ("gpt-2", {}, "a"),
        ("gpt-2", {"add_bos_token": True, "bos_token_id": 263}, "<|end|>a"),
        ("gpt-2", {"add_eos_token": True, "eos_token_id": 263}, "a<|end|>"),
        ("llama-bpe", {"bos_token_id": 263}, "<|end|>a"),
        ("llama-bpe", {"add_bos_token": False, "bos_token_id": 263}, "a"),
    ],
)
def test_first_and_last_tokens_are_added_where_the_file_asks(
    pre: str, values: dict, wanted: str, tmp_path: Path
) -> None:
    made = tokenizer_of(byte_level(tmp_path / "m.gguf", pre, **values))
    assert "".join(made.encode("a").tokens) == wanted
    assert made.encode("a", add_special_tokens=False).tokens == ["a"]


def test_what_is_not_known_is_refused_by_its_name(tmp_path: Path) -> None:
    for pre, words in (("kimi-k2", "'kimi-k2'"), ("next-year", "'next-year'")):
        path = byte_level(tmp_path / f"{pre}.gguf", pre)
        with pytest.raises(pc.UnsupportedError, match=f"{pre}.gguf splits text by {words}"):
            tokenizer_of(path)
    old = tokenizer_of(byte_level(tmp_path / "old.gguf", None))
    assert pieces(old, "1234") == ["123", "4"]  # as llama.cpp splits where nothing is said


def test_the_whole_tokenizer_goes_before_its_words(tmp_path: Path, tales_dir: Path) -> None:
    import gguf
    from gguf_vocabularies import write

    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_string("tokenizer.huggingface.json", (tales_dir / "tokenizer.json").read_text())
    text = "Once upon a time"
    original = Tokenizer.from_file(str(tales_dir / "tokenizer.json"))
    assert tokenizer_of(write(writer)).encode(text).ids == original.encode(text).ids
