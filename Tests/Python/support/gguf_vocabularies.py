# SPDX-License-Identifier: Apache-2.0
"""GGUF files that hold nothing but a vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
from tokenizers import Tokenizer, pre_tokenizers

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
"""The 256 tokens of byte-level BPE that stand for bytes."""

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def write_vocabulary(path: Path, model: str, **values: Any) -> Path:
    """Writes a file with these values of `tokenizer.ggml`; lists and bytes become arrays."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    for name, value in values.items():
        key = f"tokenizer.ggml.{name}"
        if isinstance(value, (list, bytes)):
            writer.add_array(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_string(key, value)
    return write(writer)


def write(writer: gguf.GGUFWriter) -> Path:
    """Ends a file without tensors."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return Path(writer.path)


def byte_level(path: Path, pre: str | None = "gpt-2", **values: Any) -> Path:
    """A byte-level vocabulary: the bytes, a few merges, one control token and one of a user."""
    merges = ["a b", "Ġ a", "Ġa b", "1 2", "12 3", "Ċ Ċ", "Ġ Ġ"]
    tokens = [*BYTES, *(merge.replace(" ", "") for merge in merges), "<|end|>", "<tool>"]
    kinds = [NORMAL] * (len(tokens) - 2) + [CONTROL, USER_DEFINED]
    said = {"tokens": tokens, "token_type": kinds, "merges": merges} | values
    return write_vocabulary(path, "gpt2", **({} if pre is None else {"pre": pre}), **said)


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    """What a tokenizer splits a text into before it looks for tokens."""
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
