# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: whole at any moment, and only for the run that they belong to."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from checkpoints import fill_the_disk, run_in_parts
from prunecore._native.run_file import RunFile

RUN = {"data_sha256": "a" * 64, "cap": 7.5, "seed": 0, "budget": None}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "game.checkpoint"


def test_what_was_saved_last_is_loaded(file: Path) -> None:
    checkpoint = RunFile(file, RUN)
    assert checkpoint.load() is None
    for game in (b"first\nwith a line", b"", os.urandom(10_000)):
        checkpoint.save(game)
        assert RunFile(file, dict(RUN)).load() == game
        assert list(file.parent.iterdir()) == [file]


def test_what_a_killed_write_leaves_does_no_harm(file: Path) -> None:
    checkpoint = RunFile(file, RUN)
    checkpoint.save(b"before")
    file.with_name("game.checkpoint.0123abcd.partial").write_bytes(b"half of a")
    assert checkpoint.load() == b"before"
    checkpoint.save(b"after")
    assert checkpoint.load() == b"after" and list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"data_sha256": "b" * 64}, "data_sha256 is"),
        ({"cap": None}, "cap is 7.5 there and null here"),
        ({"budget": 12}, "budget is null there and 12 here"),
        ({"more": True}, "more is null there and true here"),
    ],
)
def test_other_runs_are_refused_with_what_differs(
    file: Path, change: dict[str, Any], words: str
) -> None:
    RunFile(file, RUN).save(b"game")
    with pytest.raises(pc.ArgumentError, match=words) as caught:
        RunFile(file, {**RUN, **change}).load()
    assert "game.checkpoint" in str(caught.value)
    assert RunFile(file, RUN).load() == b"game"


def test_every_truncation_of_a_checkpoint_is_seen(file: Path) -> None:
    checkpoint = RunFile(file, RUN)
    checkpoint.save(b"the bytes\nof a game")
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(pc.FormatError, match=r"game\.checkpoint"):
            checkpoint.load()
    file.write_bytes(content + b"!")
    with pytest.raises(pc.FormatError, match="damaged"):
        checkpoint.load()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xff\xfe\n", pc.FormatError),
        (b"[]\n", pc.FormatError),
        (b"[" * 100_000, pc.FormatError),
        (b'{"format": "prunecore.mask"}\n', pc.FormatError),
        (b'{"format": "prunecore.checkpoint", "version": 2}\n', pc.UnsupportedError),
        (b'{"format": "prunecore.checkpoint", "version": 1}\n', pc.FormatError),
        (b'{"format": "prunecore.checkpoint", "version": 1, "run": {}}\n', pc.FormatError),
    ],
)
def test_files_that_are_not_checkpoints_are_refused(
    file: Path, content: bytes, kind: type[pc.Error]
) -> None:
    file.write_bytes(content)
    with pytest.raises(kind, match=r"game\.checkpoint"):
        RunFile(file, RUN).load()
    assert file.read_bytes() == content


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "game"):
        with pytest.raises(pc.FileError, match=str(path)):
            RunFile(path, RUN).load() or RunFile(path, RUN).save(b"game")


def test_failed_write_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = RunFile(file, RUN)
    checkpoint.save(b"before")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(pc.FileError, match="No space left"):
            checkpoint.save(b"after")
    assert checkpoint.load() == b"before"
    checkpoint.save(b"after")
    assert checkpoint.load() == b"after" and list(file.parent.iterdir()) == [file]


@pytest.fixture(scope="module")
def data(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "maths.jsonl", model, 24, limit=2)


def same(one: pc.ShapleyScores, two: pc.ShapleyScores) -> bool:
    return (
        one.state.to_dict() == two.state.to_dict()
        and np.array_equal(one.values, two.values)
        and np.array_equal(one.standard_errors, two.standard_errors)
        and np.array_equal(one.strata(), two.strata(), equal_nan=True)
    )


@pytest.mark.parametrize("estimator", ["surrogate", "truncated", "random_subnetworks", "exact"])
def test_stopped_runs_end_with_the_same_numbers(
    model: pc.Model, data: pc.Data, file: Path, estimator: str
) -> None:
    options: dict[str, Any] = {
        "players": [[2 * b, 2 * b + 1, 2 * b + 2, 2 * b + 3] for b in range(0, 12, 2)],
        "estimator": estimator,
        "budget": None if estimator == "exact" else 40,
        "batch_coalitions": 8,
    }
    whole = model.shapley(data, **options)
    found = run_in_parts(partial(model.shapley, data, **options), file, pc.Game)
    assert same(found, whole)
    # A run that is over is read, not played again.
    again = model.shapley(data, **options, checkpoint=file, progress=lambda _: pytest.fail("told"))
    assert same(again, whole) and again.provenance == whole.provenance


def test_checkpoint_of_a_game_is_of_its_model_data_and_options(
    model: pc.Model, data: pc.Data, file: Path, tales_dir: Path
) -> None:
    options: dict[str, Any] = {"granularity": "block", "budget": 20, "checkpoint": file}
    model.shapley(data, **options)
    content = file.read_bytes()
    other = pc.Data([row[:-1] for row in data.sequences])
    changes: list[tuple[str, pc.Data, dict[str, Any]]] = [
        ("data_sha256", other, {}),
        ("budget", data, {"budget": 21}),
        ("seed", data, {"seed": 1}),
        ("cap", data, {"cap": None}),
        ("cap", data, {"cap": 3}),
        ("measure", data, {"measure": "kl"}),
        ("estimator", data, {"estimator": "kernel_shap"}),
        ("player_of_sublayer", data, {"granularity": "attention"}),
        ("reference_removed", data, {"reference": pc.Mask.remove("attn.1", 12)}),
        ("least", data, {"least": 2}),
        ("batch_tokens", data, {"batch_tokens": 24}),
    ]
    for word, text, change in changes:
        with pytest.raises(pc.ArgumentError, match=f"another run: .*{word}"):
            model.shapley(text, **{**options, **change})
    assert file.read_bytes() == content
    header = json.loads(content.partition(b"\n")[0])
    assert header["run"]["model_config_sha256"] == model.provenance["config_sha256"]
    assert model.shapley(data, **options).state.told == 20


def test_damaged_games_in_checkpoints_are_named(model: pc.Model, data: pc.Data, file: Path) -> None:
    options: dict[str, Any] = {"granularity": "block", "budget": 20, "checkpoint": file}
    model.shapley(data, **options)
    content = bytearray(file.read_bytes())
    content[-30] ^= 1
    file.write_bytes(content)
    with pytest.raises(pc.FormatError, match=r"game\.checkpoint"):
        model.shapley(data, **options)


def test_places_that_cannot_be_written_are_known_at_once(
    model: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    (tmp_path / "gone").touch()  # a folder cannot be there
    with pytest.raises(pc.FileError, match="gone"):
        model.shapley(
            data,
            checkpoint=tmp_path / "gone" / "file",
            batch_progress=lambda *_: pytest.fail("played"),
        )


def test_failing_writes_stop_the_game(
    model: pc.Model, data: pc.Data, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch)
    with pytest.raises(pc.FileError, match="the disk is full"):
        model.shapley(data, granularity="block", budget=20, checkpoint=file)
