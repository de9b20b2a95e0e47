# SPDX-License-Identifier: Apache-2.0
"""The command `prunecore`, run as a process: results, JSON, files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "prunecore", *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # no terminal: no progress
        return done

    return call


def only_json(done: subprocess.CompletedProcess[str]) -> Any:
    record = json.loads(done.stdout)
    assert isinstance(record, dict)
    return record


def test_installed_command_is_the_module(tmp_path: Path) -> None:
    from importlib.metadata import entry_points, version

    (found,) = entry_points(group="console_scripts", name="prunecore")
    assert found.value == "prunecore.cli:main"
    assert version("prunecore") == pc.__version__


def test_command_prints_help_and_version(run: Run) -> None:
    listed = run("--help").stdout
    commands = "info score shapley prune evaluate curve tasks generate demo"
    for command in commands.split():
        assert command in listed
        help_ = run(command, "--help").stdout
        assert "--json" in help_ and "--compute" in help_
    assert run().stdout == listed
    assert run("--version").stdout == f"{pc.__version__}\n"


def test_info_command_says_what_the_model_is(run: Run, tales: pc.Model, tales_dir: Path) -> None:
    record = only_json(run("info", tales_dir, "--threads", 1, "--json"))
    assert record["model"]["parameters"] == tales.shape.parameters
    assert record["model"]["name"] == "tales-12l"
    assert [row["name"] for row in record["sublayers"][:2]] == ["attn.0", "ffn.0"]
    assert record["runtime"]["threads"] == 1
    assert record["runtime"]["version"] == pc.__version__
    text = run("info", tales_dir).stdout
    assert "LlamaForCausalLM" in text and "2,477,184" in text
    assert pc.runtime_info().blas_kernels in text and pc.runtime_info().loop_kernels in text
    assert record["model"]["compute"] == "float32" and "computed in" in text
    advice = pc.runtime_info().advice
    assert not advice or "advice" in text


def test_score_prune_and_evaluate_commands_agree_with_the_library(
    run: Run, tales: pc.Model, tales_dir: Path, tmp_path: Path
) -> None:
    text = tales_dir / "maths.jsonl"
    common = ("--data", text, "--sequence-length", 64, "--limit", 6, "--seed", 4)
    scores_file, mask_file = tmp_path / "made" / "scores.json", tmp_path / "made" / "mask.json"
    printed = only_json(
        run("score", tales_dir, *common, "--metric", "cosine,l1", "--out", scores_file, "--json")
    )
    assert printed == json.loads(scores_file.read_text())
    data = pc.Data.from_text(text, tales, 64, limit=6, seed=4)
    wanted = tales.score(data, ["cosine", "l1"])
    found = pc.Scores.load(scores_file)
    assert found.metrics == ("cosine", "l1") and found.granularity == "sublayer"
    np.testing.assert_allclose(found["cosine"], wanted["cosine"], rtol=1e-6)
    assert found.provenance["data_sha256"] == data.digest

    options = ("--scores", scores_file, "--metric", "cosine", "--remove", 3, "--only", "attention")
    made = only_json(run("prune", tales_dir, *options, "--out", mask_file, "--json"))
    mask = found.prune(3, "cosine", only="attention")
    assert made["removed"] == mask.removed and pc.Mask.load(mask_file) == mask
    assert made["cost_after"] == tales.cost(mask).to_dict()
    assert made["cost_before"] == tales.cost().to_dict()
    assert made["provenance"]["metric"] == "cosine"

    result = only_json(run("evaluate", tales_dir, *common, "--mask", mask_file, "--json"))
    evaluation = tales.evaluate(data, mask)
    assert result["loss"] == pytest.approx(evaluation.loss, abs=2e-6)
    assert result["sequence_perplexity"] == pytest.approx(evaluation.sequence_perplexity, rel=1e-5)
    assert result["removed"] == mask.removed and result["tokens"] == 6 * 63
    whole = only_json(run("evaluate", tales_dir, *common, "--json"))
    assert whole["loss"] == pytest.approx(tales.evaluate(data).loss, abs=2e-6)
    assert whole["loss"] < result["loss"]
    assert (
        f"{evaluation.loss:.4f}" in run("evaluate", tales_dir, *common, "--mask", mask_file).stdout
    )

    under = only_json(run("score", tales_dir, *common, "--mask", mask_file, "--json"))
    assert under["removed"] == mask.removed


def test_score_prints_every_number_in_80_columns(run: Run, tales_dir: Path) -> None:
    text = run(
        "score", tales_dir, "--data", tales_dir / "plays.jsonl", "--limit", 1, "--metric", "all"
    ).stdout
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert text.count("ffn.11") == 2  # ten metrics take two tables
    assert text.count("*") == 1 + 10  # one in the title, one for the least important by each


def test_score_command_needs_no_data_for_magnitude(
    run: Run, tales_dir: Path, tales: pc.Model
) -> None:
    arguments = ("--metric", "magnitude", "--granularity", "feed-forward", "--json")
    record = only_json(run("score", tales_dir, *arguments))
    wanted = tales.score(metrics="magnitude", granularity="feed_forward")["magnitude"]
    np.testing.assert_allclose(record["metrics"]["magnitude"], wanted, rtol=1e-12)


def test_prune_command_removes_by_granularity(run: Run, tales_dir: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "scores.json"
    scores = pc.Scores({"mine": rng.random(24)}, "sublayer", 12)
    scores.save(file)
    common = ("prune", tales_dir, "--scores", file, "--remove", 2, "--json")
    assert only_json(run(*common))["removed"] == scores.prune(2).removed
    for kind in ("attention", "feed_forward"):
        wanted = scores.prune(2, only=kind).removed
        assert only_json(run(*common, "--granularity", kind))["removed"] == wanted
        assert only_json(run(*common, "--only", kind))["removed"] == wanted


def test_several_data_files_of_a_command_are_one_text(
    run: Run, tales_dir: Path, tales: pc.Model
) -> None:
    paths = [tales_dir / "maths.jsonl", tales_dir / "plays.jsonl"]
    options = [part for path in paths for part in ("--data", path)]
    record = only_json(run("evaluate", tales_dir, *options, "--limit", 3, "--seed", 0, "--json"))
    assert record["data_sha256"] == pc.Data.from_text(paths, tales, limit=3, seed=0).digest


def test_curve_writes_json_and_pictures(
    run: Run, tales_dir: Path, tales: pc.Model, tmp_path: Path
) -> None:
    text = tales_dir / "stories.jsonl"
    data = pc.Data.from_text(text, tales, 64, limit=2)
    scores = tales.score(data, ["cosine", "l2"], "attention")
    scores.save(tmp_path / "scores.json")
    common = ("--data", text, "--sequence-length", 64, "--limit", 2, "--scores", "scores.json")
    done = run("curve", tales_dir, *common, "--max-removed", 4, "--out", "curves", "--json")
    record = only_json(done)
    assert record == json.loads((tmp_path / "curves" / "curves.json").read_text())
    assert [curve["metric"] for curve in record["curves"]] == ["cosine", "l2"]
    wanted = tales.curve(data, scores, "l2", 4)
    found = [point["loss"] for point in record["curves"][1]["points"]]
    np.testing.assert_allclose(found, wanted.losses, atol=2e-6)
    assert (tmp_path / "curves" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "curves" / "curves.svg").read_bytes()
    one = only_json(
        run(
            "curve",
            tales_dir,
            *common,
            "--metric",
            "l2",
            "--max-removed",
            1,
            "--out",
            "b",
            "--json",
        )
    )
    assert [curve["metric"] for curve in one["curves"]] == ["l2"]
