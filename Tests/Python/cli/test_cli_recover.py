# SPDX-License-Identifier: Apache-2.0
"""`prunecore recover`, and the commands that work on what it wrote, run as processes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest
from commands import COMMAND, only_json, run
from processes import HANG, begun, wait_until

MASK = pc.Mask.remove(["attn.6", "attn.8"], 12)


@pytest.fixture
def files(tales_dir: Path, tmp_path: Path) -> Path:
    """A folder with masks, and links to the model and a text."""
    MASK.save(tmp_path / "mask.json")
    pc.Mask.all(12).save(tmp_path / "whole.json")
    pc.Mask.remove("attn.1", 12).save(tmp_path / "other.json")
    (tmp_path / "model").symlink_to(tales_dir)
    (tmp_path / "text.jsonl").symlink_to(tales_dir / "stories.jsonl")
    held_out = (tales_dir / "maths.jsonl").read_text().splitlines(keepends=True)[:12]
    (tmp_path / "held-out.jsonl").write_text("".join(held_out))
    (tmp_path / "one.txt").write_text("Once")
    return tmp_path


def recover(folder: Path, options: str) -> dict[str, Any]:
    done = run(
        folder,
        "recover model --mask mask.json --data text.jsonl --limit 16 --sequence-length 128 --json "
        + options,
    )
    return dict(only_json(done))


def test_closed_form_is_that_of_the_library(files: Path, tales: pc.Model) -> None:
    record = recover(files, "--rank 4 --seed 7 --out made/adapters")
    text = pc.Data.from_text(files / "text.jsonl", tales, 128, limit=16, seed=7)
    wanted = tales.recover(MASK, text, rank=4, seed=7)
    found = pc.Adapters.load(files / "made" / "adapters")
    assert found.digest == wanted.digest == record["sha256"]
    assert record["loss"] == pytest.approx(tales.evaluate(text, adapters=wanted).loss, abs=1e-6)
    assert record["loss_pruned"] == pytest.approx(tales.evaluate(text, MASK).loss, abs=1e-6)
    assert record["loss_full"] == pytest.approx(tales.evaluate(text).loss, abs=1e-6)
    lost = record["loss_pruned"] - record["loss_full"]
    assert record["share"] == pytest.approx((record["loss_pruned"] - record["loss"]) / lost)
    assert record["measured_on"] == "data"
    assert record["removed"] == ["attn.6", "attn.8"]
    assert [adapter["name"] for adapter in record["adapters"]] == record["removed"]
    assert record["data_sha256"] == text.digest and record["model"] == tales.provenance


def test_recover_command_makes_every_kind_of_adapter(files: Path) -> None:
    for kind in pc.ADAPTER_KINDS:
        record = recover(files, f"--kind {kind.replace('_', '-')} --rank 4 --out {kind}")
        assert {adapter["kind"] for adapter in record["adapters"]} == {kind}


def test_training_and_the_commands_that_use_it(files: Path, tales: pc.Model) -> None:
    record = recover(
        files,
        "--objective kl --steps 3 --rank 4 --step-tokens 256 --held-out held-out.jsonl "
        "--out trained --start zero",
    )
    assert record["summary"]["objective"] == "kl" and record["summary"]["steps"] == 3
    assert record["measured_on"] == "held_out"
    assert record["history"][0]["step"] == 0 and record["history"][0]["loss"] is None
    adapters = pc.Adapters.load(files / "trained")
    evaluate = "evaluate model --data held-out.jsonl --sequence-length 128 --json "
    same = json.loads(run(files, evaluate + "--adapters trained").stdout)
    assert same["loss"] == pytest.approx(record["loss"], abs=1e-6)
    assert same["removed"] == record["removed"]
    assert same["adapters"]["sha256"] == adapters.digest
    assert same["model"]["adapters_sha256"] == adapters.digest
    both = json.loads(run(files, evaluate + "--adapters trained --mask mask.json").stdout)
    assert both == same
    pruned = json.loads(run(files, evaluate + "--mask mask.json").stdout)
    assert pruned["loss"] == pytest.approx(record["loss_pruned"], abs=1e-6)
    shown = run(files, evaluate.replace("--json ", "--adapters trained")).stdout
    assert "attn.6, attn.8" in shown and "Adapters:" in shown

    prompt = "generate model --prompt Once --max-tokens 12 --adapters trained --json"
    made = json.loads(run(files, prompt).stdout)
    wanted = adapters.attach(tales).generate("Once", 12).texts
    assert [row["text"] for row in made["sequences"]] == list(wanted or ())
    assert made["removed"] == record["removed"]
    run(files, "generate model --calibration 2 --max-tokens 8 --adapters trained --out c.npy")


def test_weights_are_trained_and_written_as_a_checkpoint(files: Path, tales: pc.Model) -> None:
    options = "--kind weights --train final_norm,last:1 --steps 4 --learning-rate 1e-3 --seed 7"
    lines = (files / "text.jsonl").read_text().splitlines(keepends=True)[:12]
    (files / "same.jsonl").write_text("".join(lines))
    record = recover(files, f"{options} --batch-sequences 2 --held-out same.jsonl --out made")
    text = pc.Data.from_text(files / "text.jsonl", tales, 128, limit=16, seed=7)
    held_out = pc.Data.from_text(files / "same.jsonl", tales, 128)
    wanted = tales.heal(
        text,
        MASK,
        train="final_norm,last:1",
        steps=4,
        learning_rate=1e-3,
        batch_sequences=2,
        seed=7,
        held_out=held_out,
    )
    assert record["loss_after"] == wanted.loss_after < record["loss_before"]
    assert record["removed"] == ["attn.6", "attn.8"] and record["format"] == "hf"
    assert json.loads((files / "made" / "healing.json").read_text()) == record
    with pc.open(files / "made") as opened:
        assert opened.mask.removed == record["removed"]
        assert opened.evaluate(held_out).loss == pytest.approx(wanted.loss_after, abs=1e-6)
    done = run(
        files, f"recover model --mask mask.json --data text.jsonl --limit 8 {options} --out b"
    )
    assert "loss before" in done.stdout and "final_norm, last:1" in done.stdout


def test_recover_command_prints_a_table(files: Path) -> None:
    done = run(
        files,
        "recover model --mask mask.json --data text.jsonl --limit 8 --rank 4 --out made",
    )
    for words in ("attn.6", "low-rank 4", "loss, pruned", "lost loss won back", "Wrote made"):
        assert words in done.stdout
    assert done.stderr == ""


def test_ctrl_c_ends_the_training_of_the_recover_command(files: Path) -> None:
    line = (
        "recover model --mask mask.json --data text.jsonl --limit 32 --rank 4 --objective ce "
        "--start zero --steps 100000 --checkpoint kept/training --out never --json"
    )
    running = begun(
        [*COMMAND, *line.split()],
        cwd=files,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    # The folder is made when all is read and training is next; its steps would take hours.
    wait_until((files / "kept").is_dir, "the folder of the checkpoint")
    time.sleep(1)  # usually enough to be within the training; a signal before it does the same
    running.send_signal(signal.SIGINT)
    out, error = running.communicate(timeout=HANG)
    assert (running.returncode, out) == (130, ""), error
    assert error == "prunecore: cancelled\n"
    assert not (files / "never").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("recover model --data text.jsonl --out o", "--mask"),
        ("recover model --mask mask.json --out o", "--data"),
        ("recover model --mask mask.json --data text.jsonl", "--out"),
        ("recover model --mask whole.json --data text.jsonl --limit 4 --out o", "remove"),
        ("recover model --mask gone.json --data text.jsonl --out o", "gone.json"),
        ("recover model --mask mask.json --data text.jsonl --kind lora --out o", "lora"),
        ("recover model --mask mask.json --data text.jsonl --objective loss --out o", "'loss'"),
        ("recover model --mask mask.json --data text.jsonl --rank many --out o", "--rank"),
        ("recover model --mask mask.json --data text.jsonl --train head --out o", "--train is for"),
        (
            "recover model --mask mask.json --data text.jsonl --kind weights --rank 4 --out o",
            "--rank is for adapters",
        ),
        (
            "recover model --mask mask.json --data text.jsonl --kind weights --train head --out o",
            "untie_head",
        ),
        (
            "recover model --mask mask.json --data text.jsonl --kind weights --format gguf --out o",
            "--format",
        ),
        ("recover model --mask mask.json --data text.jsonl --rank 0 --out o", "rank is 0"),
        ("recover model --mask mask.json --data text.jsonl --steps 0 --out o", "steps is 0"),
        ("recover model --mask mask.json --data one.txt --objective kl --out o", "sequence"),
        ("recover model --mask mask.json --data text.jsonl --limit 4 --out one.txt", "one.txt"),
        ("evaluate model --data text.jsonl --adapters gone", "gone"),
        ("generate model --prompt Once --adapters gone", "gone"),
        ("study", "command"),
        ("study recovery model --data one.txt --out o", "one.txt"),
        ("study recovery model --granularity heads --out o", "heads"),
        ("study recovery model --most 0 --out o", "--most is 0"),
        ("study recovery model --most 13 --out o", "--most is 13"),
    ],
)
def test_wrong_input_is_one_sentence(files: Path, line: str, words: str) -> None:
    done = run(files, line, 2)
    assert words in done.stderr and done.stderr.count("\n") == 1
    assert done.stderr.startswith("prunecore: ") and done.stdout == ""


def test_commands_refuse_adapters_of_another_mask(files: Path) -> None:
    recover(files, "--kind bias --out adapters")
    done = run(
        files,
        "evaluate model --data text.jsonl --limit 2 --adapters adapters --mask other.json",
        2,
    )
    assert "attn.6, attn.8" in done.stderr and "attn.1" in done.stderr
