# SPDX-License-Identifier: Apache-2.0
"""GGUF files as places of tokenizers: who reads them, which are refused, what exports keep."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import prunecore as pc
import pytest
from gguf_vocabularies import BYTES, byte_level, write, write_vocabulary
from prunecore.data.gguf_tokenizer.metadata import read_metadata
from prunecore.data.gguf_tokenizer.tokenizer import tokenizer_of
from prunecore.data.text import load_tokenizer, tokenize
from prunecore.export.gguf.vocabulary import read_vocabulary
from prunecore.generation.generate import configured_tokens
from tokenizer_texts import varied_texts
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors


def number(value: int, form: str = "<Q") -> bytes:
    return struct.pack(form, value)


def text(value: bytes) -> bytes:
    return number(len(value)) + value


def raw(*entries: bytes, count: int | None = None, version: int = 3, tensors: int = 0) -> bytes:
    """A file of these entries."""
    there = len(entries) if count is None else count
    head = b"GGUF" + number(version, "<I") + number(tensors) + number(there)
    return head + b"".join(entries)


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + number(kind, "<I") + value


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    return number(kind, "<I") + number(count) + content


MODEL = entry(b"tokenizer.ggml.model", 8, text(b"gpt2"))
TOKENS = b"tokenizer.ggml.tokens"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a GGUF file"),
        (b"GGU", "not a GGUF file"),
        (b"GGUF", "ends in the middle"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (raw(count=2**60), "which do not fit into its 24 bytes"),
        (raw(tensors=2**60), "which do not fit into its 24 bytes"),
        (raw(MODEL, count=2), "which do not fit|ends in the middle"),
        (raw(MODEL, MODEL), "says tokenizer.ggml.model twice"),
        (raw(number(2**62)), "ends in the middle|do not fit"),
        (raw(MODEL, entry(TOKENS, 9, array(8, 2**61))), "ends in the middle of tokenizer.ggml"),
        (raw(MODEL, entry(TOKENS, 9, array(8, 2, text(b"a") + number(2**63)))), "in the middle"),
        (raw(MODEL, entry(TOKENS, 9, array(5, 2**40))), "ends in the middle"),
        (raw(MODEL, entry(b"other.key", 9, array(5, 2**62))), "ends in the middle"),
        (raw(MODEL, entry(b"other.key", 8, number(2**62))), "ends in the middle"),
        (raw(MODEL, entry(TOKENS, 9, array(8, 1, text(b"\xff\xfe")))), "text that is not UTF-8"),
        (raw(MODEL, entry(b"\xff\xfe\xfd", 4, bytes(4))), "text that is not UTF-8, in a key"),
        (raw(MODEL, entry(TOKENS, 77, number(1))), "of the unknown type 77"),
        (raw(MODEL, entry(TOKENS, 8, text(b"abc"))), "must be a list of texts"),
        (raw(entry(b"tokenizer.ggml.model", 4, number(1, "<I"))), "must be a text"),
        (raw(MODEL), "holds no tokens"),
        (raw(entry(b"tokenizer.huggingface.json", 8, text(b"{}"))), "cannot be used"),
        (raw(entry(b"tokenizer.huggingface.json", 7, b"\1")), "something else than a text"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(pc.FormatError, match=rf"m\.gguf .*({words})"):
        load_tokenizer(path)


def test_files_cut_anywhere_are_refused(tmp_path: Path) -> None:
    whole = byte_level(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "m.gguf"
    for length in [*range(0, 200, 7), *range(200, len(whole) - 100, 331)]:
        path.write_bytes(whole[:length])
        with pytest.raises(pc.FormatError, match=r"m\.gguf"):
            load_tokenizer(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (raw(version=1), "version 1; versions 2 and 3 are read"),
        (raw(version=3 << 24), "big-endian"),
        (raw(entry(TOKENS, 9, array(9, 1, array(4, 1, bytes(4))))), "array of arrays"),
        (raw(entry(b"tokenizer.ggml.model", 8, text(b"rwkv")),
             entry(TOKENS, 9, array(8, 1, text(b"a")))), "of the kind 'rwkv'"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_said(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(pc.UnsupportedError, match=rf"m\.gguf .*{words}"):
        load_tokenizer(path)


def test_files_without_a_tokenizer_are_told_from_damaged_ones(tmp_path: Path) -> None:
    none = write_vocabulary(tmp_path / "none.gguf", "no_vocab")
    with pytest.raises(pc.FileError, match=r"none\.gguf holds no tokenizer: give that of the"):
        load_tokenizer(none)
    with pytest.raises(pc.FileError, match=r"missing\.gguf cannot be read"):
        load_tokenizer(tmp_path / "missing.gguf")
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(pc.FileError, match="tokenizer.json is missing"):
        load_tokenizer(tmp_path / "folder.gguf")


def test_values_are_read_as_they_were_written(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_float64("t.f", -2.5)
    writer.add_int8("t.i", -3)
    writer.add_bool("t.b", True)
    writer.add_string("t.s", "é")
    writer.add_array("t.strings", ["a", "", "é" * 9])
    writer.add_array("t.floats", [0.5, -1.0])
    writer.add_array("t.flags", [True, False])
    writer.add_string("u.s", "not wanted")
    writer.add_array("u.strings", ["not wanted"])
    found = read_metadata(write(writer), ("t.",))
    floats, flags = found.pop("t.floats"), found.pop("t.flags")
    assert (floats.tolist(), flags.tolist()) == ([0.5, -1.0], [True, False])
    wanted = {"t.f": -2.5, "t.i": -3, "t.b": True, "t.s": "é", "t.strings": ["a", "", "é" * 9]}
    assert found == wanted


def test_text_is_read_with_the_tokenizer_of_the_file(tmp_path: Path) -> None:
    path = byte_level(tmp_path / "m.gguf")
    wanted = tokenize(tokenizer_of(path), "ab ab")
    model = SimpleNamespace(directory=path)
    (tmp_path / "t.txt").write_text("ab ab")
    read = pc.Data.from_text(tmp_path / "t.txt", path, None)
    assert [row.tolist() for row in read.sequences] == [wanted.tolist()]
    assert tokenize(load_tokenizer(model), "ab ab").tolist() == wanted.tolist()
    assert load_tokenizer(path) is load_tokenizer(str(path))  # made once
    path.unlink()
    byte_level(path, add_bos_token=True, bos_token_id=263)
    assert tokenize(load_tokenizer(path), "a")[0] == 263  # but again for another file there


def test_a_file_names_the_tokens_that_begin_and_end_a_text(tmp_path: Path) -> None:
    def of(name: str, **values: Any) -> tuple[list[int], list[int]]:
        path = byte_level(tmp_path / f"{name}.gguf", **values)
        shape = SimpleNamespace(vocabulary_size=265)
        model: Any = SimpleNamespace(directory=path, shape=shape, _config_text=b"{}")
        return tuple(configured_tokens(model, f"{key}_token_id") for key in ("bos", "eos"))  # type: ignore[return-value]

    assert of("a", bos_token_id=3, eos_token_id=7, eot_token_id=5) == ([3], [7, 5])
    assert of("b", eos_token_id=7) == ([], [7, 263])  # the token "<|end|>" ends a turn
    assert of("c", pre="not-known", eos_token_id=263) == ([], [263])  # whatever splits its text


def byte_pairs(pre: Any, normalizer: Any = None) -> Tokenizer:
    """Byte-level BPE as a model may have it in tokenizer.json."""
    ids = {token: number for number, token in enumerate([*BYTES, "ab", "Ġab"])}
    made = Tokenizer(models.BPE(vocab=ids, merges=[("a", "b"), ("Ġ", "ab")]))
    made.pre_tokenizer, made.normalizer = pre, normalizer
    made.add_special_tokens(["<s>"])
    made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 258)])
    return made


def over_characters(normalizer: Any, pre: Any) -> Tokenizer:
    """The BPE of SentencePiece as a model may have it in tokenizer.json."""
    words = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a", "b"]
    ids = {token: number for number, token in enumerate([*words, "ab", "\u2581ab"])}
    merges = [("a", "b"), ("\u2581", "ab")]
    made = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizer
    if pre is not None:
        made.pre_tokenizer = pre
    made.add_special_tokens(["<unk>", "<s>"])
    made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return made


GPT_2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
REPLACE = normalizers.Replace(" ", "\u2581")
PREPEND = normalizers.Sequence([normalizers.Prepend("\u2581"), REPLACE])
EXPORTED = {
    # Whether the words of llama.cpp alone say the same.
    "gpt-2": (byte_pairs(GPT_2), True),
    "smollm": (byte_pairs(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), GPT_2])), True),
    "llama": (over_characters(PREPEND, None), True),
    "gemma": (over_characters(REPLACE, pre_tokenizers.Split(" ", "merged_with_previous")), True),
    "composed": (byte_pairs(GPT_2, normalizers.NFC()), False),
    "metaspace": (over_characters(None, pre_tokenizers.Metaspace(prepend_scheme="first")), False),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_tokenizers_come_back(name: str, tmp_path: Path) -> None:
    original, is_said = EXPORTED[name]
    check_export(original, is_said, {"bos_token": "<s>"}, tmp_path)


def test_the_embedded_tokenizer_comes_back(tales_dir: Path, tmp_path: Path) -> None:
    original = Tokenizer.from_file(str(tales_dir / "tokenizer.json"))
    config = json.loads((tales_dir / "tokenizer_config.json").read_text())
    check_export(original, True, config, tmp_path)


def check_export(original: Tokenizer, is_said: bool, config: dict, folder: Path) -> None:
    """Writes a tokenizer as the export does, with tokenizer.json in the file and without."""
    original.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    texts = varied_texts(200, seed=6)
    rows = [original.encode(text).ids for text in texts]
    for whole in (True, False):
        found = read_vocabulary(folder, original.get_vocab_size() + 3)
        assert found is not None and found.whole
        if not whole:
            found.whole = ""
        writer = gguf.GGUFWriter(folder / f"{whole}.gguf", "llama")
        found.add_to(writer, folder)
        made = tokenizer_of(write(writer))
        is_same = [made.encode(text).ids for text in texts] == rows
        assert is_same == (whole or is_said)
