# SPDX-License-Identifier: Apache-2.0
"""`prunecore evaluate --choices`, run as a process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest
from commands import only_json, run

LETTERS = "ABCD"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tales_dir: Path) -> Path:
    """A folder with questions of both kinds, a text, a mask, and a link to the model."""
    root = tmp_path_factory.mktemp("choices")
    (root / "model").symlink_to(tales_dir)
    (root / "text.jsonl").symlink_to(tales_dir / "maths.jsonl")
    lines = [
        {"question": f"What is {i} + 1?", "choices": [str(i + j) for j in range(4)], "answer": 1}
        for i in range(8)
    ]
    (root / "sums.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "shown.jsonl").write_text(json.dumps(lines[3]) + "\n" + json.dumps(lines[4]) + "\n")
    (root / "bad.jsonl").write_text(json.dumps({**lines[0], "answer": 4}) + "\n")
    for split, count in (("test", 4), ("dev", 2)):
        (root / "mmlu" / split).mkdir(parents=True)
        for subject in ("old_birds", "art"):
            rows = [
                f'"{subject} {split} {i}, which?",red,blue,green,none,{LETTERS[i % 4]}\n'
                for i in range(count)
            ]
            (root / "mmlu" / split / f"{subject}_{split}.csv").write_text("".join(rows))
    pc.Mask.remove(["attn.3", "block.7"], 12).save(root / "mask.json")
    return root


def record_of(folder: Path, arguments: str) -> Any:
    return only_json(run(folder, f"{arguments} --json"))


def test_choices_command_reads_an_mmlu_directory_with_shots(folder: Path, tales: pc.Model) -> None:
    record = record_of(folder, "evaluate model --choices mmlu --shots 2 --mask mask.json")
    data = pc.Data.from_choices(folder / "mmlu", tales, shots=2)
    found = tales.evaluate_choices(data, pc.Mask.load(folder / "mask.json"))
    shown = record["choices"]
    assert shown["n_items"] == 8 and shown["scoring"] == "letter"
    assert shown["accuracy"] == pytest.approx(found.accuracy)
    assert shown["macro_accuracy"] == pytest.approx(found.macro_accuracy)
    assert shown["choice_loss"] == pytest.approx(found.choice_loss, abs=1e-5)
    assert list(shown["by_subject"]) == ["art", "old_birds"]
    assert shown["data_sha256"] == data.digest
    assert record["removed"] == ["attn.3", "attn.7", "ffn.7"]
    assert record["cost"]["sublayers_removed"] == 3 and "loss" not in record


@pytest.mark.parametrize("scoring", ["sum", "mean"])
def test_questions_and_text_in_one_go(folder: Path, tales: pc.Model, scoring: str) -> None:
    record = record_of(
        folder,
        f"evaluate model --choices sums.jsonl --scoring {scoring} --limit 5 --seed 2"
        " --data text.jsonl --sequence-length 32",
    )
    data = pc.Data.from_choices(
        folder / "sums.jsonl",
        tales,
        scoring,  # type: ignore[arg-type]
        limit=5,
        seed=2,
    )
    assert record["choices"]["choice_loss"] == pytest.approx(
        tales.evaluate_choices(data).choice_loss, abs=1e-5
    )
    assert record["choices"]["n_items"] == 5 and record["choices"]["scoring"] == scoring
    text = pc.Data.from_text(folder / "text.jsonl", tales, 32, limit=5, seed=2)
    assert record["loss"] == pytest.approx(tales.evaluate(text).loss, abs=1e-5)
    assert record["data_sha256"] == text.digest


def test_choices_command_takes_examples_from_a_file(folder: Path, tales: pc.Model) -> None:
    record = record_of(
        folder,
        "evaluate model --choices sums.jsonl --examples shown.jsonl --shots 1 --out o/r.json",
    )
    questions = pc.ChoiceSet.load(folder / "sums.jsonl", folder / "shown.jsonl")
    data = pc.Data.from_choices(questions, tales, shots=1)
    assert record["choices"]["data_sha256"] == data.digest
    assert json.loads((folder / "o" / "r.json").read_text()) == record


def test_choices_command_prints_a_table(folder: Path, tales: pc.Model) -> None:
    done = run(folder, "evaluate model --choices mmlu --data text.jsonl --limit 6")
    assert done.stderr == ""
    data = pc.Data.from_choices(folder / "mmlu", tales, limit=6)
    found = tales.evaluate_choices(data)
    assert f"{100 * found.accuracy:.1f} +- {100 * (found.standard_error or 0):.1f} %" in done.stdout
    for word in ("old birds", "perplexity", "letter, 0", "25.0 %", f"{found.choice_loss:.4f}"):
        assert word in done.stdout
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= 80


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "give --data, --choices, or both"),
        ("--choices gone.jsonl", "gone.jsonl"),
        ("--choices bad.jsonl", "bad.jsonl, line 1: the answer is 4"),
        ("--choices model", "is not an MMLU directory"),
        ("--choices sums.jsonl --shots 1", "give --examples"),
        ("--choices mmlu --shots 3", "3 shots need 3 examples of art, not 2"),
        ("--choices mmlu --shots -1", "shots is -1"),
        ("--choices mmlu --scoring best", "scoring is 'best'"),
        ("--choices mmlu --limit 0", "limit is 0"),
        ("--choices mmlu --seed -1", "--seed"),
    ],
)
def test_bad_input_of_choices_gives_one_sentence(folder: Path, arguments: str, words: str) -> None:
    done = run(folder, f"evaluate model {arguments}", 2)
    assert done.stdout == ""
    assert done.stderr.startswith("prunecore: ") and words in done.stderr
    assert len(done.stderr.splitlines()) == 1
