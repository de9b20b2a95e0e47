# SPDX-License-Identifier: Apache-2.0
"""Data from files: tokenising, packing, drawing, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from prunecore.data.text import load_tokenizer, pack, tokenize
from tokenizers import Tokenizer

BOS = 1  # "<s>" of the embedded model's tokenizer


def write_lines(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_documents_are_joined_cut_and_the_rest_is_dropped(tales_dir: Path, tmp_path: Path) -> None:
    texts = ["One day, a boy ran.", "Question: 2 + 2?", "KING RICHARD: No more of this."]
    path = write_lines(tmp_path / "a.jsonl", texts)
    plain = Tokenizer.from_file(str(tales_dir / "tokenizer.json"))
    stream = [token for text in texts for token in plain.encode(text).ids]
    assert stream.count(BOS) == 3
    data = pc.Data.from_text(path, tales_dir, sequence_length=8)
    assert data.n_sequences == len(stream) // 8
    assert np.concatenate(data.sequences).tolist() == stream[: 8 * data.n_sequences]
    assert len(stream) % 8 != 0


def test_less_than_one_sequence_is_kept(tales_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One day.")
    data = pc.Data.from_text(path, tales_dir, sequence_length=512)
    assert data.n_sequences == 1 and data.n_tokens < 512


def test_documents_of_a_text_can_stay_apart(tales_dir: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", ["One day.", "", "  \n", "A longer text is here."])
    data = pc.Data.from_text(path, tales_dir, sequence_length=None)
    assert data.n_sequences == 2
    assert [int(row[0]) for row in data.sequences] == [BOS, BOS]
    assert len(data.sequences[0]) < len(data.sequences[1])


def test_document_begins_with_the_start_token_once(tales_dir: Path) -> None:
    tokenizer = load_tokenizer(tales_dir)
    bare = tokenize(tokenizer, "Once upon a time").tolist()
    assert bare[0] == BOS and bare.count(BOS) == 1
    assert tokenize(tokenizer, "<s>Once upon a time").tolist() == bare
    # A second one stands for a document of its own, and stays.
    assert tokenize(tokenizer, "<s><s>Once upon a time").tolist() == [BOS, *bare]
    inner = tokenize(tokenizer, "Once<s>upon").tolist()
    assert inner.count(BOS) == 2
    assert tokenize(tokenizer, "").tolist() == [BOS]


def test_padding_and_truncation_of_a_tokenizer_are_switched_off(tales_dir: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tales_dir / "tokenizer.json"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    text = "One day a boy ran home as fast as he could."
    wanted = tokenize(load_tokenizer(tales_dir), text).tolist()
    assert tokenize(load_tokenizer(tokenizer), text).tolist() == wanted
    assert len(tokenizer.encode(text).ids) != len(wanted)  # the caller's object is left alone


def test_tokenizer_can_be_given_in_many_ways(tales: pc.Model, tales_dir: Path) -> None:
    from transformers import AutoTokenizer

    path = tales_dir / "plays.jsonl"
    sources = [
        tales,
        tales_dir,
        str(tales_dir),
        tales_dir / "tokenizer.json",
        Tokenizer.from_file(str(tales_dir / "tokenizer.json")),
        AutoTokenizer.from_pretrained(tales_dir),
    ]
    digests = {pc.Data.from_text(path, source, limit=3).digest for source in sources}
    assert len(digests) == 1
    with pytest.raises(pc.ArgumentError, match="tokenizer"):
        pc.Data.from_text(path, 3)


def test_limit_of_a_text_takes_the_first_and_seed_draws(tales_dir: Path) -> None:
    path = tales_dir / "maths.jsonl"
    whole = pc.Data.from_text(path, tales_dir, 64)
    rows = [row.tobytes() for row in whole.sequences]
    first = pc.Data.from_text(path, tales_dir, 64, limit=5)
    assert [row.tobytes() for row in first.sequences] == rows[:5]
    drawn = pc.Data.from_text(path, tales_dir, 64, limit=5, seed=7)
    chosen = np.sort(np.random.default_rng(7).choice(len(rows), size=5, replace=False))
    assert [row.tobytes() for row in drawn.sequences] == [rows[index] for index in chosen]
    assert chosen.tolist() != [0, 1, 2, 3, 4]
    assert pc.Data.from_text(path, tales_dir, 64, limit=10**6, seed=1).digest == whole.digest
    with pytest.raises(pc.ArgumentError, match="limit is 0"):
        pc.Data.from_text(path, tales_dir, limit=0)


def test_several_text_files_are_one_text(tales_dir: Path) -> None:
    paths = [tales_dir / "maths.jsonl", tales_dir / "plays.jsonl"]
    both = pc.Data.from_text(paths, tales_dir)
    apart = [pc.Data.from_text(path, tales_dir, None) for path in paths]
    stream = np.concatenate([row for data in apart for row in data.sequences])
    kept = np.concatenate(both.sequences)
    assert np.array_equal(kept, stream[: len(kept)]) and len(stream) - len(kept) < 256


def test_token_files_need_no_tokenizer(tmp_path: Path) -> None:
    table = np.arange(12, dtype=np.int64).reshape(3, 4)
    np.save(tmp_path / "table.npy", table)
    rows = pc.Data.from_file(tmp_path / "table.npy", limit=2)
    assert [row.tolist() for row in rows.sequences] == table[:2].tolist()
    np.save(tmp_path / "stream.npy", np.arange(10, dtype=np.uint16))
    cut = pc.Data.from_file(tmp_path / "stream.npy", sequence_length=4)
    assert [row.tolist() for row in cut.sequences] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_suffix_decides_what_a_file_is(tales_dir: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(4))
    path = tales_dir / "maths.jsonl"
    by_suffix = pc.Data.from_file(path, tales_dir, limit=2)
    assert by_suffix.digest == pc.Data.from_text(path, tales_dir, limit=2).digest
    with pytest.raises(pc.ArgumentError, match="tokenizer"):
        pc.Data.from_file(path)
    with pytest.raises(pc.ArgumentError, match="mixed"):
        pc.Data.from_file([path, tmp_path / "a.npy"], tales_dir)
    with pytest.raises(pc.ArgumentError, match="no data file"):
        pc.Data.from_file([])


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("gone.txt", None, pc.FileError, r"gone\.txt cannot be read"),
        ("empty.txt", b" \n", pc.DataError, r"no tokens in .*empty\.txt"),
        ("latin.txt", b"caf\xe9 au lait", pc.FormatError, "UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n{"text" "x"}\n', pc.FormatError, r"a\.jsonl, line 2"),
        ("b.jsonl", b'\n{"txt": "x"}\n', pc.FormatError, r"b\.jsonl, line 2.*text"),
        ("c.jsonl", b"[1]\n", pc.FormatError, r"c\.jsonl, line 1"),
        ("d.npy", b"no array", pc.FormatError, r"d\.npy"),
        ("gone.npy", None, pc.FileError, r"gone\.npy cannot be read"),
    ],
)
def test_bad_text_files_are_named(
    tales_dir: Path,
    tmp_path: Path,
    name: str,
    content: bytes | None,
    kind: type[Exception],
    words: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind, match=words):
        pc.Data.from_file(path, tales_dir)


@pytest.mark.parametrize(
    "array", [np.zeros((1, 2, 3), dtype=np.int32), np.zeros(4), np.array(["a"])]
)
def test_token_files_of_other_arrays_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(pc.FormatError, match=r"a\.npy"):
        pc.Data.from_file(tmp_path / "a.npy")


def test_pickles_in_token_files_are_not_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(pc.FormatError, match=r"a\.npy"):
        pc.Data.from_file(tmp_path / "a.npy")


def test_missing_tokenizer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    with pytest.raises(pc.FileError, match=r"tokenizer\.json is missing"):
        pc.Data.from_text(path, tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(pc.FormatError, match="not a tokenizer"):
        pc.Data.from_text(path, tmp_path)


def test_text_is_packed_into_sequences() -> None:
    rows = [np.array([1, 2, 3]), np.array([], dtype=np.int64), np.array([4, 5])]
    assert [row.tolist() for row in pack(rows, 2)] == [[1, 2], [3, 4]]
    assert [row.tolist() for row in pack(rows, None)] == [[1, 2, 3], [4, 5]]
    assert [row.tolist() for row in pack(rows, 9)] == [[1, 2, 3, 4, 5]]
    with pytest.raises(pc.ArgumentError, match="sequence_length is 0"):
        pack(rows, 0)
