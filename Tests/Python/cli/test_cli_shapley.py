# SPDX-License-Identifier: Apache-2.0
"""The command `prunecore shapley`: results, checkpoints that outlive the process, errors."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from checkpoints import killed, told_of
from commands import SMALL, on_terminal, only_json, run, stopped, write_questions


def test_shapley_command_writes_the_scores_of_the_library(folder: Path, tales: pc.Model) -> None:
    arguments = (
        f"shapley model {SMALL} --measure loss --estimator antithetic --budget 60 --granularity "
        "block --checkpoint made/game --out made/scores.json --seed 3 --json"
    )
    printed = only_json(run(folder, arguments))
    assert printed == json.loads((folder / "made" / "scores.json").read_text())
    data = pc.Data.from_text(folder / "text.jsonl", tales, 24, limit=2, seed=3)
    wanted = tales.shapley(data, granularity="block", estimator="antithetic", budget=60, seed=3)
    found = pc.ShapleyScores.load(folder / "made" / "scores.json")
    np.testing.assert_allclose(found.values, wanted.values, rtol=0, atol=1e-5)
    assert found.state.told == wanted.state.told and found.granularity == "block"
    assert found.provenance["data_sha256"] == data.digest
    assert found.provenance["options"] == wanted.provenance["options"]
    assert (folder / "made" / "game").is_file()


def test_shapley_command_prints_a_table(folder: Path) -> None:
    shown = run(folder, f"shapley model {SMALL} --granularity attention --budget 30").stdout
    for word in ("attn.0", "attn.11", "Shapley value", "95 %", "surrogate", "efficiency gap", "30"):
        assert word in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80 and "…" not in shown


def test_options_of_the_shapley_command_reach_the_game(folder: Path) -> None:
    base = f"shapley model {SMALL} --granularity block --json"
    none = only_json(run(folder, f"{base} --estimator leave_one_out --cap none"))
    assert none["provenance"]["cap"] is None
    assert none["metrics"].keys() == {"leave_one_out"}
    three = only_json(run(folder, f"{base} --estimator leave-one-out --cap 3"))
    assert three["provenance"]["cap"] == 3.0
    loose = only_json(run(folder, f"{base} --estimator antithetic --budget 400 --target-error 0.5"))
    assert loose["shapley"]["state"]["told"] < 400
    assert loose["shapley"]["state"]["largest_error"] <= 0.5
    least = only_json(
        run(folder, f"{base} --estimator exact --least 2 --certainty 0.9 --budget 5000")
    )
    assert least["provenance"]["options"]["least"] == 2
    few = only_json(run(folder, f"{base} --estimator antithetic --sublayer-budget 300"))
    assert few["shapley"]["state"]["sublayers_computed"] <= 300
    kept = only_json(run(folder, f"{base} --estimator banzhaf --budget 40 --keep-probability 0.9"))
    assert kept["provenance"]["options"]["keep_probability"] == 0.9
    paper = f"{base} --estimator random_subnetworks --subnetwork-size 11 --budget 24"
    assert only_json(run(folder, paper))["provenance"]["options"]["subnetwork_size"] == 11
    divergence = only_json(run(folder, f"{base} --measure js --budget 20"))
    assert divergence["provenance"]["measure"] == "js"


def test_prune_and_curve_commands_take_shapley_scores(folder: Path, tales: pc.Model) -> None:
    run(folder, f"shapley model {SMALL} --budget 60 --out scores.json")
    scores = pc.ShapleyScores.load(folder / "scores.json")
    for arguments, only in (
        ("", None),
        ("--metric shapley --only attention", "attention"),
        ("--granularity feed_forward", "feed_forward"),
    ):
        done = run(
            folder,
            f"prune model --scores scores.json --remove 3 --out mask.json --json {arguments}",
        )
        mask = scores.prune(3, only=only)
        assert only_json(done)["removed"] == mask.removed
        assert pc.Mask.load(folder / "mask.json") == mask
        assert only_json(done)["provenance"]["metric"] == "shapley"
    done = run(
        folder, f"curve model {SMALL} --scores scores.json --max-removed 3 --out curves --json"
    )
    (curve,) = only_json(done)["curves"]
    assert curve["metric"] == "shapley"
    data = pc.Data.from_text(folder / "text.jsonl", tales, 24, limit=2)
    wanted = tales.curve(data, scores, max_removed=3).losses
    np.testing.assert_allclose([p["loss"] for p in curve["points"]], wanted, atol=2e-6)
    wrong = run(folder, "prune model --scores scores.json --remove 3 --metric cosine", 2)
    assert "cosine" in wrong.stderr


def test_shapley_command_takes_questions(folder: Path) -> None:
    write_questions(folder)
    base = "shapley model --choices q.jsonl --granularity block --estimator leave_one_out --json"
    loss = only_json(run(folder, f"{base} --measure choice_loss --scoring mean"))
    assert loss["provenance"]["measure"] == "choice_loss" and loss["provenance"]["cap"] is None
    values = loss["metrics"]["leave_one_out"]
    assert len(values) == 12 and len(set(values)) == 12
    error = only_json(run(folder, f"{base} --measure choice_error"))
    halves = 2 * np.array(error["metrics"]["leave_one_out"])
    assert np.array_equal(halves, halves.round())  # two questions: the share changes in halves
    shown = run(
        folder,
        "shapley model --choices q.jsonl --granularity block --measure choice_loss --budget 40 "
        "--estimator random_subnetworks",
    ).stdout
    assert "unknown" in shown and "random subnetworks" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "--data"),
        ("--data text.jsonl --choices text.jsonl", "either"),
        ("--data gone.txt", "gone.txt"),
        ("--data text.jsonl --limit 1 --measure best", "best"),
        ("--data text.jsonl --limit 1 --measure choice_error", "choice"),
        ("--data text.jsonl --limit 1 --estimator best", "best"),
        ("--data text.jsonl --limit 1 --estimator exact", "20"),
        ("--data text.jsonl --limit 1 --granularity head", "head"),
        ("--data text.jsonl --limit 1 --budget 0", "budget"),
        ("--data text.jsonl --limit 1 --sublayer-budget 0", "sublayer_budget"),
        ("--data text.jsonl --limit 1 --cap high", "--cap"),
        ("--data text.jsonl --limit 1 --cap 0", "cap"),
        ("--data text.jsonl --limit 1 --target-error 0", "target_error"),
        ("--data text.jsonl --limit 1 --least 0", "least"),
        ("--data text.jsonl --limit 1 --least 2 --certainty 2", "certainty"),
        ("--data text.jsonl --limit 1 --seed -1", "--seed"),
        ("--data text.jsonl --limit 1 --checkpoint text.jsonl", "text.jsonl"),
        ("--data text.jsonl --limit 1 --checkpoint /proc/none/game", "/proc/none"),
    ],
)
def test_bad_input_of_the_shapley_command_gives_one_sentence(
    folder: Path, arguments: str, words: str
) -> None:
    done = run(folder, f"shapley model {arguments}", 2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("prunecore: ") and words in line


def test_shapley_command_refuses_the_checkpoint_of_another_run(folder: Path) -> None:
    base = "shapley model --sequence-length 24 --limit 2 --granularity block --checkpoint game"
    run(folder, f"{base} --data text.jsonl --budget 20")
    content = (folder / "game").read_bytes()
    for change, word in (
        ("--data other.jsonl --budget 20", "data_sha256"),
        ("--data text.jsonl --budget 21", "budget"),
        ("--data text.jsonl --budget 20 --cap none", "cap"),
    ):
        error = run(folder, f"{base} {change}", 2).stderr
        assert "another run" in error and word in error and "game" in error
    assert (folder / "game").read_bytes() == content
    shown = run(folder, f"{base} --data text.jsonl --budget 20 --estimator default").stdout
    assert "coalitions" in shown


LONG = "--data text.jsonl --sequence-length 64 --limit 6 --budget 400 --threads 1"


@pytest.mark.parametrize("estimator", ["surrogate", "truncated"])
def test_killed_runs_end_with_the_same_numbers(folder: Path, estimator: str) -> None:
    arguments = f"shapley model {LONG} --estimator {estimator}"
    run(folder, f"{arguments} --out whole.json")
    arguments += " --checkpoint game --out parts.json"
    told = killed(folder, arguments, folder / "game", pc.Game, seed=estimator)
    assert told[1] < 400
    run(folder, arguments)
    whole, parts = (json.loads((folder / f"{n}.json").read_text()) for n in ("whole", "parts"))
    assert parts == whole


def test_ctrl_c_ends_the_shapley_command_with_130_and_keeps_the_checkpoint(folder: Path) -> None:
    arguments = f"shapley model {LONG} --checkpoint game --out scores.json"
    done = stopped(folder, arguments, signal.SIGINT, 5)
    assert (done.returncode, done.stderr) == (130, "prunecore: cancelled\n")
    assert 0 < told_of(folder / "game", pc.Game) < 400
    assert not (folder / "scores.json").exists()
    run(folder, arguments)
    assert told_of(folder / "game", pc.Game) == 400 and (folder / "scores.json").exists()


def test_shapley_command_shows_how_the_estimate_settles(folder: Path) -> None:
    output, shown = on_terminal(folder, f"shapley model {LONG} --json")
    assert json.loads(output)["shapley"]["state"]["told"] == 400
    assert b"coalitions" in shown and b"largest error" in shown
