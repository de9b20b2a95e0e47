# SPDX-License-Identifier: Apache-2.0
"""The commands `export`, `verify` and `mask convert`."""

from __future__ import annotations

import json
from pathlib import Path

import prunecore as pc
import pytest
from gguf_decoder import InNumPy
from prunecore.cli import main
from prunecore.export.gguf import llama_cpp_runtime, read_gguf


@pytest.fixture
def mask_file(tmp_path: Path) -> Path:
    path = tmp_path / "mask.json"
    pc.Mask.remove(["attn.3", "ffn.7"], 12).save(path)
    return path


def test_export_command_verifies_what_it_wrote(
    tales_dir: Path, mask_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    given = ["export", str(tales_dir), "--mask", str(mask_file), "--out", str(out), "--json"]
    assert main(given) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verification"]["same"] is True
    assert record["verification"]["format"] == "hf_custom"
    assert record["not_verified"] is None
    assert record["removed"] == ["attn.3", "ffn.7"]
    assert record["bytes"] == sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    assert main(given) == 2  # it exists
    assert "out" in capsys.readouterr().err
    assert main([*given, "--replace", "--no-verify"]) == 0
    assert json.loads(capsys.readouterr().out)["not_verified"] == "not asked for"

    assert main(["verify", str(tales_dir), str(mask_file), str(out)]) == 0
    assert "computes what the model does" in capsys.readouterr().out
    other = tmp_path / "other.json"
    pc.Mask.remove("attn.4", 12).save(other)
    assert main(["verify", str(tales_dir), str(other), str(out), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["same"] is False
    assert len(record["findings"]) == 2


def test_export_command_writes_and_verifies_gguf(
    tales_dir: Path,
    mask_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "m.gguf"
    given = ["export", str(tales_dir), "--mask", str(mask_file), "--format", "gguf"]
    given += ["--out", str(out), "--dtype", "F32", "--no-tokenizer", "--json"]
    monkeypatch.setattr(llama_cpp_runtime, "LlamaCpp", InNumPy)
    assert main(given) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verification"]["same"] is True
    assert record["gguf"]["architecture"] == "deci"
    assert record["gguf"]["has_tokenizer"] is False
    assert read_gguf(out).coarsest_type == "F32"

    def missing() -> None:
        raise pc.LoadError("llama-cpp-python is not here")

    monkeypatch.undo()
    monkeypatch.setattr(llama_cpp_runtime, "load_llama_cpp", missing)
    assert main([*given, "--replace"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verification"] is None
    assert record["not_verified"] == "llama-cpp-python is not here"
    assert main(["verify", str(tales_dir), str(mask_file), str(out)]) == 2
    assert "cannot be run here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--format", "tar"], "format is 'tar'"),
        (["--dtype", "F16"], "--dtype and --no-tokenizer are for --format gguf"),
        (["--format", "gguf", "--dtype", "Q2"], "unknown dtype 'Q2'"),
    ],
)
def test_export_and_verify_commands_refuse_bad_input(
    more: list[str],
    words: str,
    tales_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", str(tales_dir), "--out", str(tmp_path / "x"), *more]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_mask_convert_command_reads_and_writes_notations(
    mask_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mask", "convert", str(mask_file), "--to", "evopress"]) == 0
    lines = capsys.readouterr().out
    assert lines.split() == ["none"] * 3 + ["attn"] + ["none"] * 3 + ["mlp"] + ["none"] * 4
    out = tmp_path / "made" / "drop.json"
    assert main(["mask", "convert", str(mask_file), "--to", "llm_drop", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["drop_attn_list"] == [3]
    capsys.readouterr()
    given = ["mask", "convert", "3,7", "--from", "prune_layers", "--blocks", "12", "--json"]
    assert main(given) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["removed"] == ["attn.3", "ffn.3", "attn.7", "ffn.7"]
    assert pc.Mask.from_json(record["text"]).removed == record["removed"]
    assert main(["mask", "convert", "3,7"]) == 2
    assert "give n_blocks" in capsys.readouterr().err
    long = tmp_path / "long.json"
    pc.Mask.remove([f"block.{i}" for i in range(60)], 80).save(long)
    assert main(["mask", "convert", str(long), "--to", "blockpruner"]) == 0
    assert len(json.loads(capsys.readouterr().out)["120"]) == 120  # on one line, as it is
