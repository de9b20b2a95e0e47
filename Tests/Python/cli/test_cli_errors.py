# SPDX-License-Identifier: Apache-2.0
"""How the command `prunecore` fails: exit codes, and one sentence without a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import prunecore as pc
import pytest
from commands import COMMAND, on_terminal
from processes import HANG, begun, wait_until


@pytest.fixture
def files(tales: pc.Model, tales_dir: Path, tmp_path: Path) -> Path:
    """A folder with scores and masks, good and bad."""
    pc.Scores({"mine": range(24)}, "sublayer", 12).save(tmp_path / "scores.json")
    pc.Scores({"a": range(12), "b": range(12)}, "block", 12).save(tmp_path / "blocks.json")
    pc.Scores({"mine": range(8)}, "sublayer", 4).save(tmp_path / "small.json")
    pc.Mask.all(4).save(tmp_path / "small-mask.json")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "model").symlink_to(tales_dir)
    (tmp_path / "text.jsonl").symlink_to(tales_dir / "maths.jsonl")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("nonsense", "nonsense"),
        ("info", "MODEL"),
        ("info gone", "gone"),
        ("info . --json", "config.json"),
        ("info model --threads 9999", "9999"),
        ("info model --threads many", "--threads"),
        ("info model --nonsense", "--nonsense"),
        ("score model", "--data"),
        ("score model --data gone.txt", "gone.txt"),
        ("score model --data empty.txt", "empty.txt"),
        ("score model --data text.jsonl --metric best", "best"),
        ("score model --data text.jsonl --granularity head", "head"),
        ("score model --data text.jsonl --relative-to both", "both"),
        ("score model --data text.jsonl --tokens first", "first"),
        ("score model --data text.jsonl --limit 0", "limit"),
        ("score model --data text.jsonl --limit 1 --seed -1", "--seed"),
        ("score model --data text.jsonl --sequence-length -1", "--sequence-length"),
        ("score model --data text.jsonl --limit 1 --mask broken.json", "broken.json"),
        ("score model --data text.jsonl --limit 1 --mask small-mask.json", "4 blocks"),
        ("score model --data text.jsonl --limit 1 --out /proc/none/a.json", "/proc/none"),
        ("prune model --scores scores.json", "--remove"),
        ("prune model --scores gone.json --remove 1", "gone.json"),
        ("prune model --scores broken.json --remove 1", "broken.json"),
        ("prune model --scores small.json --remove 1", "4 blocks"),
        ("prune model --scores scores.json --remove 25", "25"),
        ("prune model --scores scores.json --remove 1 --metric cosine", "cosine"),
        ("prune model --scores blocks.json --remove 1", "a, b"),
        ("prune model --scores scores.json --remove 1 --only both", "both"),
        ("prune model --scores scores.json --remove 1 --granularity block", "block"),
        (
            "prune model --scores scores.json --remove 1 --only feed_forward"
            " --granularity attention",
            "contradicts",
        ),
        ("evaluate model --data text.jsonl --limit 1 --mask gone.json", "gone.json"),
        ("evaluate model --data text.jsonl --limit 1 --mask small-mask.json", "4 blocks"),
        ("evaluate model --data model", "model"),
        ("curve model --data text.jsonl --limit 1 --scores scores.json", "--out"),
        ("curve model --data text.jsonl --limit 1 --scores small.json --out o", "4 blocks"),
        (
            "curve model --data text.jsonl --limit 1 --scores scores.json --out o --metric l1",
            "l1",
        ),
        ("demo --model gone", "gone"),
    ],
)
def test_bad_input_of_every_command_gives_one_sentence_and_exit_code_2(
    files: Path, arguments: str, words: str
) -> None:
    done = subprocess.run(
        [*COMMAND, *arguments.split()], check=False, capture_output=True, text=True, cwd=files
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("prunecore: ")
    assert words in lines[0]
    assert "Traceback" not in done.stderr


def test_failed_command_writes_nothing(files: Path) -> None:
    arguments = "prune model --scores scores.json --remove 25 --out out/mask.json"
    done = subprocess.run(
        [*COMMAND, *arguments.split()], check=False, capture_output=True, cwd=files
    )
    assert done.returncode == 2 and not (files / "out").exists()


def test_faults_of_the_library_are_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tales_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from prunecore.cli import main

    def fail(*_: object, **_named: object) -> None:
        raise pc.InternalError("something is broken")

    monkeypatch.setattr(pc, "open", fail)
    assert main(["info", str(tales_dir)]) == 1
    assert capsys.readouterr().err == "prunecore: something is broken\n"


def test_ctrl_c_ends_the_score_command_with_130_and_writes_nothing(files: Path) -> None:
    text = (files / "text.jsonl").read_text(encoding="utf-8")
    (files / "long.jsonl").write_text(text * 20, encoding="utf-8")  # minutes of scoring
    arguments = "score model --data long.jsonl --metric all --out scores-new.json --json"
    process = begun(
        [*COMMAND, *arguments.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=files,
    )
    weights = os.fspath((files / "model" / "model.safetensors").resolve())
    maps = Path(f"/proc/{process.pid}/maps")
    wait_until(lambda: weights in maps.read_text(), "the model is open")
    time.sleep(1)  # usually enough to be within the scoring; a signal before it does the same
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert (output, errors) == ("", "prunecore: cancelled\n")
    assert not (files / "scores-new.json").exists()


def test_progress_is_shown_on_a_terminal_only_and_keeps_json_clean(files: Path) -> None:
    arguments = "score model --data text.jsonl --metric all --limit 40 --json"
    output, shown = on_terminal(files, arguments)
    assert json.loads(output)["metrics"].keys() == set(pc.METRICS)
    assert b"%" in shown


def test_output_bears_what_the_terminal_lacks(tales_dir: Path, tmp_path: Path) -> None:
    named = tmp_path / "é模[b]:smile:"
    named.symlink_to(tales_dir)
    command = [sys.executable, "-m", "prunecore", "info"]
    for encoding in ("ascii", "latin-1", "cp1252"):
        done = subprocess.run(
            [*command, str(named)],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "300"},
            check=False,
        )
        assert done.returncode == 0 and done.stderr == b""
        assert b"?[b]:smile:" in done.stdout  # a name is no markup
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*command, str(tales_dir)], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert done.stderr == b"prunecore: the output: No space left on device\n"
