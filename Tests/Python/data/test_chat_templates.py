# SPDX-License-Identifier: Apache-2.0
"""Templates of conversations, wherever models keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gguf_vocabularies import byte_level
from prunecore.data.chat_template import chat_templates_of
from prunecore.data.gguf_tokenizer.files import write_tokenizer
from transformers import AutoTokenizer

PLAIN = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
TOOLS = "{{ tools }}" + PLAIN


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (PLAIN, {"default": PLAIN}),
        (
            [{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": TOOLS}],
            {"default": PLAIN, "tool_use": TOOLS},
        ),
        (None, {}),
        (7, {}),
    ],
)
def test_of_a_directory(said: Any, found: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": said}))
    assert chat_templates_of(tmp_path) == found
    (tmp_path / "chat_template.jinja").write_text("{{ first }}")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text("{{ second }}")
    assert chat_templates_of(tmp_path) == {"default": "{{ first }}", "rag": "{{ second }}"}


def test_of_a_gguf_file_and_of_what_is_written_of_it(tmp_path: Path) -> None:
    import gguf

    path = byte_level(tmp_path / "plain.gguf")
    assert chat_templates_of(path) == {}
    reader = gguf.GGUFReader(path)
    made = tmp_path / "templates.gguf"
    writer = gguf.GGUFWriter(made, "llama")
    for name, field in reader.fields.items():
        if name.startswith("tokenizer."):
            entries = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], entries)
    writer.add_chat_template(
        [{"name": "default", "template": PLAIN}, {"name": "rag", "template": TOOLS}]
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    found = chat_templates_of(made)
    assert found == {"default": PLAIN, "rag": TOOLS}
    (tmp_path / "files").mkdir()
    write_tokenizer(made, tmp_path / "files")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "files")
    assert theirs.chat_template == found
    turns = [{"role": "user", "content": "ab"}]
    assert theirs.apply_chat_template(turns, tokenize=False) == "[user]ab"
