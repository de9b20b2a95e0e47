# SPDX-License-Identifier: Apache-2.0
"""Text as tokens come in: whole characters, spaces as in the whole, stop texts held back."""

from __future__ import annotations

from pathlib import Path

import pytest
from prunecore.data.text import load_tokenizer
from prunecore.generation.text_stream import INCOMPLETE, MOST_INCOMPLETE, TextStream
from tokenizers import Tokenizer, decoders, models

# Of one, two, three and four bytes; the last one is a family of several code points.
TEXT = "One day — früh — 東京 said “na\u00efve” 🙂 and 👨\u200d👩\u200d👧 went."


@pytest.fixture
def tokenizer(tales_dir: Path) -> Tokenizer:
    return load_tokenizer(tales_dir)


@pytest.fixture
def byte_tokenizer() -> Tokenizer:
    """Every byte is a token."""
    made = Tokenizer(models.BPE({f"<0x{byte:02X}>": byte for byte in range(256)}, []))
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return made


def test_streamed_pieces_add_up_to_the_whole(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    for start in range(0, len(ids) - 1):
        stream = TextStream(tokenizer, ids[:start])
        pieces = [stream.feed(token) for token in ids[start:]]
        pieces.append(stream.finish())
        before = tokenizer.decode(ids[:start])
        if not before.endswith(INCOMPLETE):
            assert before + "".join(pieces) == tokenizer.decode(ids)
            assert not any(INCOMPLETE in piece for piece in pieces)
        assert stream.text == "".join(pieces)


def test_streamed_characters_come_whole(byte_tokenizer: Tokenizer) -> None:
    stream = TextStream(byte_tokenizer, [])
    pieces = [stream.feed(byte) for byte in "a東🙂b".encode()]
    assert pieces == ["a", "", "", "東", "", "", "", "🙂", "b"]
    cut = TextStream(byte_tokenizer, [])
    assert [cut.feed(byte) for byte in "é".encode()[:1]] == [""]
    assert cut.finish() == INCOMPLETE


def test_a_prompt_may_end_amid_a_character(byte_tokenizer: Tokenizer) -> None:
    content = "x東y".encode()
    stream = TextStream(byte_tokenizer, content[:2])
    text = "".join(stream.feed(byte) for byte in content[2:]) + stream.finish()
    assert text.endswith("東y")


def test_bytes_that_are_no_text_do_not_wait_for_ever(byte_tokenizer: Tokenizer) -> None:
    stream = TextStream(byte_tokenizer, [])
    pieces = [stream.feed(0xFF) for _ in range(10 * MOST_INCOMPLETE)]
    assert sum(map(bool, pieces)) >= 9


def test_stream_holds_stop_texts_back(byte_tokenizer: Tokenizer) -> None:
    stream = TextStream(byte_tokenizer, [], ["abab!", "xyz"])
    pieces = [stream.feed(byte) for byte in b"..ababab!.."]
    assert "".join(pieces) == stream.text == "..ab"
    assert stream.stopped and stream.finish() == ""
    free = TextStream(byte_tokenizer, [], ["abab!"])
    text = "".join(free.feed(byte) for byte in b"..abab")
    assert text == ".." and free.finish() == "abab" and not free.stopped
