# SPDX-License-Identifier: Apache-2.0
"""The template that makes one text of the turns of a conversation, where a model brings one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunecore._native.json_files import read_json_object
from prunecore._native.reading import read_text
from prunecore.data.gguf_tokenizer.metadata import read_metadata
from prunecore.data.gguf_tokenizer.path import is_gguf

_KEY = "tokenizer.chat_template"
_USUAL = "default"


def chat_templates_of(path: Path) -> dict[str, str]:
    """The templates (Jinja) of a model directory or GGUF file, by name; "default" is the usual one.

    A directory has them as chat_template.jinja, in chat_template.json, or in tokenizer_config.json,
    of which the first that is there counts, as in transformers.

    Raises
    ------
    FileError, FormatError
        A file is unreadable, or damaged.
    """
    if is_gguf(path):
        values = read_metadata(path, (_KEY,))
        return {
            key[len(_KEY) + 1 :] or _USUAL: text
            for key, text in values.items()
            if isinstance(text, str) and (key == _KEY or key.startswith(_KEY + "."))
        }
    text = path / "chat_template.jinja"
    if text.is_file():
        others = sorted((path / "additional_chat_templates").glob("*.jinja"))
        return {_USUAL: read_text(text)} | {other.stem: read_text(other) for other in others}
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (path / name).is_file():
            found = _named(read_json_object(path / name).get("chat_template"))
            if found:
                return found
    return {}


def _named(found: Any) -> dict[str, str]:
    """One template, or a list of them with names."""
    if isinstance(found, str):
        return {_USUAL: found}
    listed = found if isinstance(found, list) else []
    return {
        str(entry["name"]): str(entry["template"])
        for entry in listed
        if isinstance(entry, dict) and "name" in entry and "template" in entry
    }
