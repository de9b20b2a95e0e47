# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of a GGUF file as the files that transformers reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prunecore.data.gguf_tokenizer.metadata import read_metadata
from prunecore.data.gguf_tokenizer.tokenizer import tokenizer_of
from prunecore.errors import FileError, UnsupportedError

_TEMPLATE = "tokenizer.chat_template"
_TOKENS = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


def write_tokenizer(path: Path, directory: Path) -> bool:
    """Writes tokenizer.json and tokenizer_config.json; whether the file has a tokenizer.

    The chat templates of the file are in the second, as transformers has them there: one, or a list
    with a name for each. One whose kind is not known counts as none: the weights are of use without.

    Raises
    ------
    FileError, FormatError
        The file is unreadable, or damaged; the directory cannot be written.
    """
    try:
        tokenizer = tokenizer_of(path)
    except (FileError, UnsupportedError):
        return False
    tokenizer.save(str(directory / "tokenizer.json"))
    values = read_metadata(path, ("tokenizer.",))
    said: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    for name, key in _TOKENS.items():
        token = values.get(f"tokenizer.ggml.{name}_token_id")
        text = None if token is None else tokenizer.id_to_token(int(token))
        if text is not None:
            said[key] = text
    if (templates := _templates(values)) is not None:
        said["chat_template"] = templates
    text = json.dumps(said, ensure_ascii=False, indent=2)
    (directory / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
    return True


def _templates(values: dict[str, Any]) -> str | list[dict[str, str]] | None:
    """The chat template; where there are others with names, all."""
    usual = values.get(_TEMPLATE)
    named = {
        key[len(_TEMPLATE) + 1 :]: text
        for key, text in values.items()
        if key.startswith(_TEMPLATE + ".") and isinstance(text, str)
    }
    if not named:
        return usual if isinstance(usual, str) else None
    all_ = ({"default": usual} if isinstance(usual, str) else {}) | named
    return [{"name": name, "template": text} for name, text in all_.items()]
