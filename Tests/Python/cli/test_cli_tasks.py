# SPDX-License-Identifier: Apache-2.0
"""`prunecore tasks`, run as a process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from commands import only_json, run
from PIL import Image

RUNS_BLOCKS_OF = {"docs/tasks.md": ("python", "sh")}
TEXTS = ("stories", "maths", "plays")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tales_dir: Path) -> Path:
    """A folder with a link to the model."""
    root = tmp_path_factory.mktemp("tasks")
    (root / "model").symlink_to(tales_dir)
    return root


ALL_DATA = " ".join(f"--data {text}=model/{text}.jsonl" for text in TEXTS)
SMALL = "--sequence-length 64 --calibration 3 --held-out 2"


@pytest.fixture(scope="module")
def page(repository_root: Path) -> str:
    return (repository_root / "docs" / "tasks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(folder: Path, page: str, repository_root: Path) -> dict[str, Any]:
    """What the command of the documentation writes."""
    (command,) = re.findall(r"^prunecore tasks (.*?)\n```", page, re.DOTALL | re.MULTILINE)
    (folder / "examples").symlink_to(repository_root / "examples")
    arguments = command.replace("\\\n", " ")
    record: dict[str, Any] = only_json(run(folder, f"tasks {arguments} --json"))
    return record


def table(page: str, heading: str) -> list[list[float]]:
    """The numbers of the page's table with this heading."""
    (rows,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]*\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [
        [float(cell.replace("%", "")) for cell in row.split("|")[2:-1]] for row in rows.splitlines()
    ]


def test_numbers_on_the_tasks_page_are_those_found(page: str, whole: dict[str, Any]) -> None:
    assert whole["tasks"] == list(TEXTS) and len(whole["damage"]) == 6
    np.testing.assert_allclose(whole["spearman"], table(page, "Spearman"), atol=6e-4)
    damage = 100 * np.array(whole["damage"][5])
    np.testing.assert_allclose(damage, table(page, "damage, 5 removed"), atol=0.06)
    points = whole["compromises"][5]
    front = [point["losses"] for point in points if point["on_front"]]
    np.testing.assert_allclose(front, table(page, "on the front, 5 removed"), atol=1e-4)
    own = np.diagonal(whole["losses"][5])
    words = " ".join(page.split())
    assert "({:.4f}, {:.4f} and {:.4f})".format(*own) in words
    assert np.all(np.array(front) < own)
    assert f"91 weightings lead to {len(points)} masks; {len(front)} of them" in words
    assert sum(len(point["weights"]) for point in points) == 91
    assert all(order[-1] == "attn.7" for order in whole["order"].values())


def test_the_page_on_tasks_compares_tasks(
    folder: Path, page: str, repository_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(repository_root / "examples")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code, names)
    assert names["found"].max_removed == 5 and names["found"].granularity == "attention"


def test_the_command_of_the_page_on_multiple_choice_measures_what_python_does(
    folder: Path, tales: pc.Model, repository_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split, count in (("test", 3), ("dev", 5)):
        path = folder / "mmlu" / "data" / split / f"art_{split}.csv"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{split} {i}?,red,blue,green,none,B\n" for i in range(count)))
    mask = pc.Mask.remove(["attn.3"], 12)
    mask.save(folder / "mask.json")
    monkeypatch.chdir(folder)
    questions = pc.ChoiceSet.load("mmlu/data")
    data = pc.Data.from_choices(questions, tales, scoring="letter", shots=5)
    found = tales.evaluate_choices(data, mask)
    assert found.n_items == 3 and data.shots == (5, 5, 5)
    page = (repository_root / "docs" / "multiple-choice.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^prunecore (evaluate .*)$", page, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "prunecore", *command.replace("MODEL", "model").split(), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    printed = json.loads(done.stdout)["choices"]["accuracy"]
    assert printed == pytest.approx(found.accuracy)


def test_help_lists_the_tasks_command(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prunecore", "--help"], check=True, capture_output=True, text=True
    )
    assert " tasks " in done.stdout


def test_tasks_command_writes_what_the_call_returns(folder: Path, tales: pc.Model) -> None:
    done = run(
        folder,
        f"tasks model {ALL_DATA} {SMALL} --granularity attention --metric cosine --remove 3"
        " --combine importance --steps 3 --out small --json",
    )
    record = only_json(done)
    data = {text: pc.Data.from_text(tales.directory / f"{text}.jsonl", tales, 64) for text in TEXTS}
    found = pc.compare_tasks(
        tales,
        data,
        "attention",
        "cosine",
        remove=3,
        calibration=3,
        held_out=2,
        combine="importance",
        steps=3,
    ).to_dict()
    assert record["provenance"] == found["provenance"]
    assert record["order"] == found["order"] and record["compromises"][2][0]["removed"]
    for ours, theirs in zip(record["damage"][3], found["damage"][3], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert json.loads((folder / "small" / "tasks.json").read_text()) == record


def test_tasks_command_writes_four_pictures(folder: Path, whole: dict[str, Any]) -> None:
    assert sorted(path.name for path in (folder / "out" / "tasks").iterdir()) == sorted(
        ["tasks.json"]
        + [
            f"tasks-{kind}.{suffix}"
            for kind in ("spearman", "sufficiency", "damage", "pareto")
            for suffix in ("png", "svg")
        ]
    )
    for path in (folder / "out" / "tasks").glob("*.png"):
        with Image.open(path) as image:
            assert image.width > 600 and len(image.convert("L").getcolors() or []) > 8


def test_tasks_command_prints_tables_within_80_columns(folder: Path) -> None:
    pair = "--data a=model/stories.jsonl --data b=model/maths.jsonl --data a=model/plays.jsonl"
    options = f"{SMALL} --metric cosine --granularity block --remove 2 --out t"
    done = run(folder, f"tasks model {pair} {options}")
    assert done.stderr == ""
    record = json.loads((folder / "t" / "tasks.json").read_text())
    assert record["tasks"] == ["a", "b"]  # two files are one task
    for words in (
        f"{record['spearman'][0][1]:.3f}",
        f"{100 * record['damage'][2][1][0]:+.1f} %",
        "weights of the tasks",
        "tasks-pareto.svg",
        f"{record['sufficiency']['matrix'][0][1]:.3f} +- ",
    ):
        assert words in done.stdout
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= 80


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--out o", "--data"),
        (ALL_DATA, "--out"),
        ("--data model/maths.jsonl --out o", "'model/maths.jsonl', but must be NAME=FILE"),
        ("--data =model/maths.jsonl --out o", "NAME=FILE"),
        ("--data maths=model/maths.jsonl --out o", "at least 2 tasks"),
        ("--data a=gone.jsonl --data b=model/maths.jsonl --out o", "gone.jsonl"),
        (f"{ALL_DATA} --calibration 9999 --out o", "task stories has too few sequences"),
        (f"{ALL_DATA} {SMALL} --metric all --out o", "one metric"),
        (f"{ALL_DATA} {SMALL} --metric cosine --remove 25 --out o", "remove is 25"),
        (f"{ALL_DATA} {SMALL} --granularity head --out o", "head"),
        (f"{ALL_DATA} {SMALL} --combine sum --out o", "combine is 'sum'"),
        (f"{ALL_DATA} {SMALL} --steps 0 --out o", "steps is 0"),
        (f"{ALL_DATA} {SMALL} --adapters lora --out o", "adapters is 'lora'"),
        (f"{ALL_DATA} {SMALL} --directions 0 --out o", "directions is 0"),
        (f"{ALL_DATA} {SMALL} --seed -1 --out o", "--seed"),
    ],
)
def test_bad_input_of_the_tasks_command_gives_one_sentence_and_exit_code_2(
    folder: Path, arguments: str, words: str
) -> None:
    done = run(folder, f"tasks model {arguments}", 2)
    assert done.stdout == ""
    assert done.stderr.startswith("prunecore: ") and words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "o").exists()
