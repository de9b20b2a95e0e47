# SPDX-License-Identifier: Apache-2.0
"""Topology on the command line: scores, what the rule cuts, and the mask of it."""

from __future__ import annotations

import json
from pathlib import Path

import prunecore as pc
import pytest
from commands import only_json, run

pytest.importorskip("gudhi", reason="gudhi is not installed: pip install gudhi")
pytest.importorskip("dionysus", reason="dionysus is not installed: pip install dionysus==2.1.1")

PROMPTS = "--data text.jsonl --sequence-length 8 --limit 40"


def test_topology_is_scored_printed_and_cut(folder: Path) -> None:
    score = f"score model {PROMPTS} --metric topology --granularity block --neighbours 4"
    record = only_json(run(folder, f"{score} --json --out scores.json"))
    scores = pc.Scores.load(folder / "scores.json")
    with pc.open(folder / "model") as model:
        data = pc.Data.from_text(folder / "text.jsonl", model, sequence_length=8, limit=40)
        found = model.topology(data, neighbours=4)
    assert record["metrics"]["topology"] == scores["topology"].tolist()
    assert scores["topology"].tolist() == found.scores()["topology"].tolist()

    cut = found.to_dict()["cut"]["0.8"]
    assert record["provenance"]["topology"]["cut"]["0.8"] == cut
    told = " ".join(run(folder, score).stdout.split())
    assert f"Cut by the rule of topology, P = 0.8: {', '.join(cut)}" in told

    run(folder, "prune model --scores scores.json --cut 0.8 --out mask.json")
    assert pc.Mask.load(folder / "mask.json") == found.cut(0.8)
    provenance = json.loads((folder / "mask.json").read_text())["provenance"]
    assert provenance["method"] == "topology_cut"


def test_what_the_rule_cannot_cut_is_told(folder: Path) -> None:
    run(folder, "score model --metric magnitude --granularity block --out magnitude.json")
    prune = "prune model --scores magnitude.json"
    assert "there is no metric 'topology'" in run(folder, f"{prune} --cut 0.9", 2).stderr
    both = run(folder, f"{prune} --cut 0.9 --remove 1", 2).stderr
    assert "give either --remove, the number of units, or --cut" in both
    told = run(folder, f"score model {PROMPTS} --metric topology", 2).stderr
    assert "topology is a metric of blocks" in told
