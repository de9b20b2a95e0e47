# SPDX-License-Identifier: Apache-2.0
"""GGUF files that hold a tokenizer, of each kind, and the reader that takes them. See `readers`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gguf
from prunecore.data.gguf_tokenizer import tokenizer as of_files
from prunecore.data.text import load_tokenizer, tokenize

TEXT = "Zoë ab  12\n\u2581x<s></s> <0x0A>\u0301"
NAMES, KINDS = ["<unk>", "<s>", "</s>"], [2, 3, 3]
WORDS = ["\u2581", "a", "b", "ab", "\u2581ab", "  "]


def read_tokenizer(path: Path) -> None:
    """Reads a tokenizer and uses it."""
    # A file may be as old and as long as the one before it in its place.
    of_files._described.cache_clear()
    of_files._tokenizer.cache_clear()
    made = load_tokenizer(path)
    tokenize(made, TEXT)


def vocabularies() -> tuple[bytes, ...]:
    """Files that are read."""
    tokens = [*NAMES, "<0x0A>", *WORDS]
    kinds = [*KINDS, 6, *([1] * 5), 4]
    scores = [-float(number) for number in range(len(tokens))]
    over_characters = {"tokens": tokens, "token_type": kinds, "scores": scores}
    # A trie whose root leads to no other unit, and one text.
    charsmap = (1024).to_bytes(4, "little") + bytes(1024) + b"a\0"
    unigram = {**over_characters, "precompiled_charsmap": charsmap, "unknown_token_id": 0}
    words = ["Z", "o", "a", "b", "1", "ab", "Ġ", "Ġab"]
    pairs = {"tokens": ["<s>", *words], "token_type": [3, *([1] * 8)], "merges": ["a b", "Ġ ab"]}
    return (
        _file("gpt2", pre="qwen2", add_bos_token=True, bos_token_id=0, **pairs),
        _file("gpt2", pre="deepseek-llm", **pairs),
        _file("llama", add_space_prefix=True, eos_token_id=2, **over_characters),
        _file("llama", add_space_prefix=False, remove_extra_whitespaces=True, **over_characters),
        _file("t5", **unigram),
        _file("gemma4", merges=["a b", "\u2581 ab"], **over_characters),
    )


def _file(model: str, **values: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tokenizer_model(model)
        for name, value in values.items():
            writer.add_key_value(f"tokenizer.ggml.{name}", value, *_kind(value))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return path.read_bytes()


def _kind(value: Any) -> tuple[gguf.GGUFValueType, ...]:
    if isinstance(value, (list, bytes)):
        inner = gguf.GGUFValueType.INT8 if isinstance(value, bytes) else _kind(value[0])[0]
        return gguf.GGUFValueType.ARRAY, inner
    return (
        gguf.GGUFValueType.BOOL
        if isinstance(value, bool)
        else gguf.GGUFValueType.get_type(value)
        if not isinstance(value, int)
        else gguf.GGUFValueType.INT32,
    )
