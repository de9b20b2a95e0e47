# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of a GGUF file as the files that transformers reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prunecore.data.chat_template import chat_templates_of
from prunecore.data.gguf_tokenizer.metadata import read_metadata
from prunecore.data.gguf_tokenizer.tokenizer import tokenizer_of
from prunecore.errors import FileError, UnsupportedError

_TOKENS = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


def write_tokenizer(path: Path, directory: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json, if the file has a tokenizer.

    The chat templates of the file are in the second, as transformers has them there: one, or a list
    with a name for each. A tokenizer of a kind that is not known counts as none.

    Raises
    ------
    FormatError
        The file is damaged.
    """
    try:
        tokenizer = tokenizer_of(path)
    except (FileError, UnsupportedError):
        return
    tokenizer.save(str(directory / "tokenizer.json"))
    values = read_metadata(path, ("tokenizer.ggml.",))
    said: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    for name, key in _TOKENS.items():
        token = values.get(f"tokenizer.ggml.{name}_token_id")
        text = None if token is None else tokenizer.id_to_token(int(token))
        if text is not None:
            said[key] = text
    templates = chat_templates_of(path)
    if set(templates) == {"default"}:
        said["chat_template"] = templates["default"]
    elif templates:
        said["chat_template"] = [
            {"name": name, "template": template} for name, template in templates.items()
        ]
    text = json.dumps(said, ensure_ascii=False, indent=2)
    (directory / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
