# SPDX-License-Identifier: Apache-2.0
"""The commands that narrow feed-forwards: score --metric neurons, search, and masks with edits."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from commands import SMALL, only_json, run


def test_scores_of_neurons_are_written(folder: Path) -> None:
    shown = run(folder, f"score model {SMALL} --metric neurons --out neurons.json").stdout
    assert "352" in shown and "median norm" in shown
    scores = pc.NeuronScores.load(folder / "neurons.json")
    with pc.open(folder / "model") as model:
        data = pc.Data.from_file(folder / "text.jsonl", model, 24, limit=2)
        wanted = model.neuron_scores(data)
    assert [row.tolist() for row in scores.norms] == [row.tolist() for row in wanted.norms]
    refused = run(folder, f"score model {SMALL} --metric neurons --granularity block", 2)
    assert "--granularity is for scores of units" in refused.stderr
    assert "--data is missing" in run(folder, "score model --metric neurons", 2).stderr


def test_a_narrowed_model_goes_through_all_commands(folder: Path) -> None:
    options = "--strategy narrow --parameter-bytes 4000000 --rounds 1 --uniform"
    shown = run(folder, f"search model {SMALL} {options} --out mask.json").stdout
    assert "neurons of a feed-forward" in shown
    mask = pc.Mask.load(folder / "mask.json")
    assert mask.edits[0]["kind"] == "narrow"
    answer = only_json(run(folder, f"evaluate model {SMALL} --mask mask.json --json"))
    assert answer["loss"] == pytest.approx(mask.provenance["damage"], abs=1e-5)
    run(folder, "export model --mask mask.json --out smaller")
    again = only_json(run(folder, f"evaluate smaller {SMALL} --json"))
    assert again["loss"] == pytest.approx(answer["loss"], abs=1e-5)


def test_options_of_others_are_refused(folder: Path) -> None:
    done = run(folder, f"search model {SMALL} --strategy 2ssp --sparsity 0.2 --remove 2", 2)
    assert "remove is no option of 2ssp" in done.stderr
    done = run(folder, f"search model {SMALL} --strategy greedy --remove 2 --sparsity 0.2", 2)
    assert "sparsity is an option of 2ssp and narrow" in done.stderr
