# SPDX-License-Identifier: Apache-2.0
"""Changes to an input: of its JSON values, of its tokens, and of its bytes."""

from __future__ import annotations

import json
import random
import re
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 1.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "x", "attn.0", "ffn.99999999999999999999", "block.1", "\ud800", "\0", "-1",
    "1_0", "²", "[/b]", [], {}, [[]], [1], ["attn.1"], {"a": 1}, [None], [[1, 2], [3]],
    1_500_000_000, "é" * 300, list(range(50)),
)  # fmt: skip
_TOKENS: tuple[bytes, ...] = (
    b"null", b"true", b"-1", b"1e400", b"1" + b"0" * 400, b"9" * 5000, b"NaN", b"Infinity", b"[]",
    b"{}", b"[" * 2000, b'{"a":' * 1500, b'"\\ud800"', b"\0", b"\xff", b"\xef\xbb\xbf",
    b"\xff\xfe", b"\x00\x00\xfe\xff", b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\x00", b"\n", b"\r", b",",
    b":", b"- ", b"&a ", b"*a", b"!!python/object:os.system ", b"2001-99-99", b"? ", b"<<: ",
    b"version https://git-lfs.github.com/spec/v1\n", b"GGUF", b"PAR1", b'"', b"\\", b"'",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(\.\d+)?|\"[^\"]*\"|true|false|null")


def mutate(source: random.Random, seed: bytes, others: tuple[bytes, ...]) -> bytes:
    """An input that is a few changes away from a good one."""
    content = seed
    if source.random() < 0.6:
        content = _of_values(source, content)
    for _ in range(source.choice((0, 0, 1, 1, 2, 4))):
        content = _of_bytes(source, content, others)
    return content


def _of_values(source: random.Random, content: bytes) -> bytes:
    """Changes of the JSON value that the input, or its first line, is."""
    first, newline, rest = content.partition(b"\n")
    for text, tail in ((content, b""), (first, newline + rest)):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        for _ in range(source.choice((1, 1, 2, 3))):
            value = _changed(source, value)
        return json.dumps(value).encode() + tail
    return content


def _changed(source: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and source.random() < 0.85:
        key = source.choice(list(value))
        kind = source.random()
        if kind < 0.15:
            return {name: entry for name, entry in value.items() if name != key}
        if kind < 0.25:
            return {**value, str(source.choice(HOSTILE)): source.choice(HOSTILE)}
        return {**value, key: _changed(source, value[key])}
    if isinstance(value, list) and value and source.random() < 0.85:
        place = source.randrange(len(value))
        kind = source.random()
        if kind < 0.15:
            return value[:place] + value[place + 1 :]
        if kind < 0.3:
            return [*value, value[place]]
        return [*value[:place], _changed(source, value[place]), *value[place + 1 :]]
    return source.choice(HOSTILE)


def _of_bytes(source: random.Random, content: bytes, others: tuple[bytes, ...]) -> bytes:
    place = source.randrange(len(content) + 1)
    kind = source.randrange(7)
    if kind == 0:
        return content[:place] + source.choice(_TOKENS) + content[place:]
    if kind == 1:
        return content[:place] + bytes([source.randrange(256)]) + content[place + 1 :]
    if kind == 2:
        return content[:place] + content[place + source.randrange(1, 20) :]
    if kind == 3:
        end = min(len(content), place + source.randrange(1, 60))
        return content[:end] + content[place:end] + content[end:]
    if kind == 4:
        return content[:place]
    if kind == 5:
        other = source.choice(others)
        return content[:place] + other[source.randrange(len(other) + 1) :]
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    token = source.choice(found)
    return content[: token.start()] + source.choice(_TOKENS) + content[token.end() :]
