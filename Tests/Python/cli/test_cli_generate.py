# SPDX-License-Identifier: Apache-2.0
"""`prunecore generate`, run as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "prunecore", *map(str, arguments)],
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == code, done.stderr
    return done


def test_text_streams_to_standard_output(tales: pc.Model, tales_dir: Path) -> None:
    wanted = tales.generate("Once upon a time", 25).texts
    done = run("generate", tales_dir, "--prompt", "Once upon a time", "--max-tokens", 25)
    assert (done.stdout,) == tuple(f"{text}\n" for text in wanted or ())
    assert "25 tokens" in done.stderr and "length" in done.stderr


def test_several_prompts_with_a_mask_as_json(
    tales: pc.Model, tales_dir: Path, tmp_path: Path
) -> None:
    mask = pc.Mask.remove(["attn.3", "ffn.7"], 12)
    mask.save(tmp_path / "mask.json")
    (tmp_path / "prompts.txt").write_text("The king\n\nOnce upon\n", encoding="utf-8")
    options = ("--max-tokens", 12, "--temperature", 0.8, "--top-k", 40, "--top-p", 0.9, "--seed", 4)
    common = ("generate", tales_dir, "--prompts", tmp_path / "prompts.txt", *options)
    file = tmp_path / "made" / "texts.json"
    done = run(*common, "--mask", tmp_path / "mask.json", "--json", "--out", file, "--threads", 1)
    record = json.loads(done.stdout)
    assert done.stderr == "" and json.loads(file.read_text(encoding="utf-8")) == record
    made = tales.generate(
        ["The king", "Once upon"], 12, temperature=0.8, top_k=40, top_p=0.9, seed=4, mask=mask
    )
    assert [row["text"] for row in record["sequences"]] == list(made.texts or ())
    assert [row["prompt"] for row in record["sequences"]] == ["The king", "Once upon"]
    assert record["removed"] == ["attn.3", "ffn.7"]
    shown = run(*common, "--mask", tmp_path / "mask.json").stdout
    assert f"The king{(made.texts or ())[0]}\n" in shown


def test_generate_command_ends_at_a_stop_text(tales_dir: Path) -> None:
    common = ("generate", tales_dir, "--prompt", "Once upon a time", "--max-tokens", 40)
    whole = run(*common).stdout
    done = run(*common, "--stop", "nothing like it", "--stop", "named Lily")
    assert done.stdout == whole[: whole.index("named Lily")] + "\n"
    assert "stop" in done.stderr


@pytest.mark.parametrize("suffix", [".jsonl", ".npy"])
def test_generate_command_writes_calibration_text_that_is_data(
    tales_dir: Path, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"calibration{suffix}"
    options = ("--prompts", tales_dir / "maths.jsonl", "--prompt-tokens", 4, "--max-tokens", 60)
    done = run("generate", tales_dir, "--calibration", 5, *options, "--out", file, "--json")
    record = json.loads(done.stdout)
    assert record["sequences"] == 5 and record["file"] == str(file)
    if suffix == ".jsonl":
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) == 5
        assert all(json.loads(line)["text"].startswith("Question") for line in lines)
    else:
        assert np.load(file).size == record["tokens"]
    length = ("--sequence-length", 32, "--json")
    found = json.loads(run("evaluate", tales_dir, "--data", file, *length).stdout)
    assert 1 < found["loss"] < 6 and found["sequences"] >= 5
    bare = run("generate", tales_dir, "--calibration", 3, "--max-tokens", 9, "--out", file)
    assert "3 sequences" in bare.stdout and f"Wrote {file}" in bare.stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ((), "--prompt"),
        (("--prompt", "a", "--prompts", "b"), "not both"),
        (("--prompts", "no/such"), "no/such"),
        (("--prompt", "a", "--max-tokens", 0), "max_new_tokens"),
        (("--prompt", "a", "--top-p", 2), "top_p"),
        (("--prompt", "a", "--prompt-tokens", 2), "--calibration"),
        (("--calibration", 2), "--out"),
        (("--calibration", 2, "--out", "text.txt"), ".jsonl or .npy"),
        (("--calibration", 2, "--out", "a.jsonl", "--temperature", 0.5), "--temperature"),
        (("--calibration", 2, "--out", "a.jsonl", "--stop", "x"), "--stop"),
        (("--calibration", 0, "--out", "a.jsonl"), "n_sequences"),
    ],
)
def test_bad_input_of_the_generate_command_is_one_sentence(
    tales_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: object, part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("generate", tales_dir, *options, code=2)  # type: ignore[misc]
    assert part in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""
    assert not list(tmp_path.iterdir())
