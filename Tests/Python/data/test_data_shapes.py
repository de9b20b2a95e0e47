# SPDX-License-Identifier: Apache-2.0
"""Token ids and texts in the many shapes that people have them in."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

TEXTS = ["Once upon a time there was a girl.", "The dog ran home."]
LINES = "".join(json.dumps({"text": text, "url": "u"}) + "\n" for text in TEXTS)


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ([1, 2, 3], [[1, 2, 3]]),
        (np.arange(3, dtype=np.uint8), [[0, 1, 2]]),
        (np.array([1.0, 2.0]), [[1, 2]]),
        ([np.array([1, 2]), [3]], [[1, 2], [3]]),
        ((n for n in (4, 5)), [[4, 5]]),
        ({"input_ids": [4, 5]}, [[4, 5]]),
        (
            {"input_ids": [[0, 1, 2], [3, 0, 0]], "attention_mask": [[0, 1, 1], [1, 0, 0]]},
            [[1, 2], [3]],
        ),
        ([{"input_ids": [1]}, {"input_ids": [2, 3]}], [[1], [2, 3]]),
    ],
)
def test_ids_are_taken_in_the_shapes_that_tools_give(given: Any, rows: list[list[int]]) -> None:
    assert [row.tolist() for row in pc.Data(given).sequences] == rows


def test_tensors_are_taken_whatever_their_type() -> None:
    torch = pytest.importorskip("torch")
    for kind in (torch.int64, torch.uint8, torch.float32, torch.bfloat16):
        one = pc.Data(torch.tensor([1, 2, 3], dtype=kind))
        assert [row.tolist() for row in one.sequences] == [[1, 2, 3]]
    assert pc.Data([torch.tensor(1), torch.tensor(2)]).n_sequences == 1
    assert pc.Data(torch.tensor([[1, 2], [3, 4]])).n_sequences == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("a text", "Data.from_texts"),
        (["a text"], "Data.from_texts"),
        (b"ids", "bytes"),
        (None, "NoneType"),
        (3, "3 is given"),
        ({1, 2}, "set"),
        ({"ids": [1]}, 'lack "input_ids".*has ids'),
        ({"input_ids": [1, 2, 3], "attention_mask": [1, 0, 1]}, "hole"),
        ([1.5, 2], "not whole"),
        ([[1, [2]]], "not a list of token ids|must be"),
        ([10**30], "beyond 32 bits"),
        ([float("nan")], "not whole"),
        ([True], "bool"),
    ],
)
def test_what_is_no_token_id_is_named(given: Any, words: str) -> None:
    with pytest.raises(pc.Error, match=words):
        pc.Data(given)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES.encode()),
        ("a.json", LINES.encode()),
        ("a.ndjson", b"\xef\xbb\xbf" + LINES.encode()),
        ("a.txt", LINES.encode()),
        ("b.json", json.dumps(TEXTS).encode()),
        ("c.json", json.dumps([{"text": text} for text in TEXTS], indent=1).encode()),
        ("d.json", json.dumps({"text": TEXTS}).encode()),
        ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)),
        ("a.jsonl.bz2", bz2.compress(LINES.encode())),
        ("a.json.xz", lzma.compress(LINES.encode())),
        ("a.jsonlines", LINES.replace("\n", "\r\n").encode("utf-16")),
    ],
)
def test_json_is_read_as_texts_whatever_it_is_called(
    name: str, content: bytes, tmp_path: Path, tales_dir: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    wanted = pc.Data.from_texts(TEXTS, tales_dir, None)
    assert pc.Data.from_text(tmp_path / name, tales_dir, None).digest == wanted.digest


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("a.txt", b"fine\ncaf\xe9", "line 2: byte 8 is 0xe9"),
        ("a.txt", b"one\nand two\0", "line 2: a NUL"),
        ("a.txt", b"PAR1....", "Parquet"),
        ("a.json", b'{"content": "x"}', "field \"text\"; it has 'content'"),
        ("a.jsonl", b'{"text": "\\ud800"}', "line 1.*half a surrogate pair"),
        ("a.jsonl", b"[" * 100_000, "line 1.*nested too deep"),
    ],
)
def test_what_is_no_text_is_named(
    name: str, content: bytes, words: str, tmp_path: Path, tales_dir: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(pc.FormatError, match=words):
        pc.Data.from_text(tmp_path / name, tales_dir)


def test_limit_without_a_seed_takes_from_all_alike(tmp_path: Path) -> None:
    for name, first in (("a", 0), ("b", 100)):
        np.save(tmp_path / f"{name}.npy", np.arange(first, first + 10).reshape(5, 2))
    files = [tmp_path / "a.npy", tmp_path / "b.npy"]
    taken = pc.Data.from_file(files, limit=3)
    assert [int(row[0]) for row in taken.sequences] == [0, 2, 100]
    items = [pc.ChoiceItem(f"q{i}", ("a", "b"), 0, subject=f"s{i // 10}") for i in range(100)]
    subjects = [item.subject for item in pc.ChoiceSet(items).draw(5)]
    assert subjects == ["s0", "s2", "s4", "s6", "s8"]


def test_home_is_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tales_dir: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("Once upon a time")
    assert pc.Data.from_text("~/a.txt", tales_dir).n_sequences == 1
