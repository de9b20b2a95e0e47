# SPDX-License-Identifier: Apache-2.0
"""`search --strategy merge`, and commands that are given a mask with edits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest
from prunecore.cli import main


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in the folder; gives its JSON."""
    monkeypatch.chdir(folder)

    def call(arguments: str) -> Any:
        assert main([*arguments.split(), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


SHORT = "--sequence-length 32 --limit 3"


def test_masks_of_merges_go_through_every_command(run: Any, folder: Path) -> None:
    found = run(
        f"search model --data text.jsonl --strategy merge --remove 2 --merge-weight 0.5 "
        f"--merge-rule sum {SHORT} --out mask.json"
    )
    assert len(found["removed"]) == 4
    mask = pc.Mask.load(folder / "mask.json")
    assert list(mask.edits) == found["edits"]
    assert mask.provenance["weight"] == 0.5
    assert found["cost_after"]["parameter_bytes"] < found["cost_before"]["parameter_bytes"]

    measured = run(f"evaluate model --data text.jsonl --mask mask.json {SHORT}")
    mask.with_edits(()).save(folder / "plain.json")
    plain = run(f"evaluate model --data text.jsonl --mask plain.json {SHORT}")
    assert measured["removed"] == plain["removed"]
    assert abs(measured["loss"] - plain["loss"]) > 1e-3
    assert "edits_sha256" in measured["model"]

    text = run("generate model --prompt Once --max-tokens 3 --mask mask.json")
    assert text["model"]["edits_sha256"] == measured["model"]["edits_sha256"]
    scored = run(f"score model --data text.jsonl --mask mask.json {SHORT} --out scores.json")
    assert scored["provenance"]["model"]["edits_sha256"] == measured["model"]["edits_sha256"]
    pruned = run(
        "prune model --scores scores.json --metric cosine --remove 1 --mask mask.json "
        "--out more.json"
    )
    assert len(pruned["removed"]) == 5
    assert pc.Mask.load(folder / "more.json").edits == mask.edits

    healed = run(f"recover model --mask mask.json --data text.jsonl --kind bias {SHORT} --out ad")
    drawn = run(f"evaluate model --data text.jsonl --mask mask.json {SHORT} --seed 0")
    assert healed["loss_pruned"] == pytest.approx(drawn["loss"], rel=1e-6)
    assert healed["loss"] < healed["loss_pruned"]
    exported = run("export model --mask mask.json --format hf_plain --out out")
    assert exported["verification"]["same"] is True
    assert run(f"verify model mask.json out --data text.jsonl {SHORT}")["same"] is True
    further = run(
        f"search model --data text.jsonl --start mask.json --strategy one_shot --remove 1 {SHORT} "
        "--out further.json"
    )
    assert pc.Mask.load(folder / "further.json").edits == mask.edits
    assert len(further["removed"]) == 5


def test_thresholds_and_protected_blocks_are_flags(run: Any) -> None:
    found = run(
        f"search model --data text.jsonl --strategy merge --threshold 0.001 "
        f"--protect block.11,block.9 {SHORT}"
    )
    assert found["threshold"] == 0.001
    assert found["provenance"]["protected"] == ["block.9", "block.11"]
    assert "attn.9" not in found["removed"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--strategy merge --candidates 3", "--candidates"),
        ("--strategy merge --granularity attention --remove 1", "whole blocks"),
        ("--strategy merge --start mask.json", "--start"),
        ("--strategy merge --checkpoint file", "--checkpoint"),
        ("--strategy merge --plot plot.png", "--plot"),
        ("--strategy merge --remove 99", "10 blocks"),
        ("--strategy greedy --remove 1 --threshold 0.5", "--threshold"),
        ("--remove 1 --merge-weight 0.5", "--merge-weight"),
        ("--remove 1 --merge-rule sum", "--merge-rule"),
        ("--strategy marge --remove 1", "marge"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    arguments: str,
    words: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert (
        main(["search", "model", "--data", "text.jsonl", *SHORT.split(), *arguments.split()]) == 2
    )
    assert words in capsys.readouterr().err
