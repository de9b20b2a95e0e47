# SPDX-License-Identifier: Apache-2.0
"""Contiguous windows chosen by a task, as Minitron does (arXiv 2408.11796): against all windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from commands import only_json, run

BLOCKS = 12
QUESTIONS = [
    ("Which one is an animal?", ["a stone", "a cat"], 1),
    ("Which one can fly?", ["a bird", "a table"], 0),
    ("What is 2 + 3?", ["4", "5", "9"], 1),
    ("What is wet?", ["the sun", "a chair", "the rain"], 2),
    ("What is 7 - 1?", ["6", "8"], 0),
]


def questions() -> pc.ChoiceSet:
    return pc.ChoiceSet([pc.ChoiceItem(text, tuple(c), answer=a) for text, c, a in QUESTIONS])


def windows(length: int, protected: tuple[int, ...] = ()) -> list[pc.Mask]:
    runs = [range(first, first + length) for first in range(BLOCKS - length + 1)]
    return [
        pc.Mask.remove([f"block.{block}" for block in own], BLOCKS)
        for own in runs
        if not set(own) & set(protected)
    ]


def worths(model: pc.Model, data: pc.ChoiceData, masks: list[pc.Mask], measure: str) -> list[float]:
    """What each mask does to the task, mask by mask."""
    found = [model.evaluate_choices(data, mask) for mask in masks]
    if measure == "choice_loss":
        return [own.choice_loss for own in found]
    return [1 - own.accuracy for own in found]


@pytest.mark.parametrize("measure", ["choice_loss", "choice_error"])
@pytest.mark.parametrize("scoring", ["mean", "letter"])
def test_the_window_that_harms_a_task_least_goes(
    model: pc.Model, measure: Any, scoring: Any
) -> None:
    data = pc.Data.from_choices(questions(), model, scoring)
    for length in (1, 4):
        masks = windows(length)
        values = worths(model, data, masks, measure)
        # That the task decides needs no metric to be named; the first of equals goes.
        found = model.search(data, "window", "block", remove=length, measure=measure)
        assert found.mask == masks[int(np.argmin(values))]
        assert found.damage == pytest.approx(min(values), abs=1e-6)
        assert found.state.told == len(masks) + 1 and found.provenance["metric"] is None
        named = model.search(
            data, "window", "block", remove=length, measure=measure, metric="leave_one_out_loss"
        )
        assert named.mask == found.mask
        # Asked for by name, the distance decides, whatever the measure.
        angular = model.search(
            data, "window", "block", remove=length, measure=measure, metric="angular"
        )
        assert angular.provenance["metric"] == "angular" and angular.state.told == 2
    free = windows(4, protected=(0, 1, 11))
    values = worths(model, data, free, measure)
    kept = model.search(
        data,
        "window",
        "block",
        remove=4,
        measure=measure,
        protect=["block.0", "block.1", "block.11"],
    )
    assert kept.mask == free[int(np.argmin(values))]


def test_the_loss_of_text_chooses_by_distance_unless_it_is_told_otherwise(
    model: pc.Model, tales_dir: Path
) -> None:
    text = pc.Data.from_text(tales_dir / "maths.jsonl", model, 24, limit=2)
    assert model.search(text, "window", "block", remove=3).provenance["metric"] == "angular"
    assert model.search(text, "window", "block", remove=3, measure="kl").state.told == 11


def test_the_command_chooses_a_window_by_questions(folder: Path, tales: pc.Model) -> None:
    rows = [{"question": text, "choices": c, "answer": a} for text, c, a in QUESTIONS]
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = only_json(
        run(
            folder,
            "search model --choices q.jsonl --scoring mean --strategy window --granularity block"
            " --remove 3 --measure choice_loss --out mask.json --json",
        )
    )
    data = pc.Data.from_choices(questions(), tales, "mean")
    masks = windows(3)
    values = worths(tales, data, masks, "choice_loss")
    assert pc.Mask.load(folder / "mask.json") == masks[int(np.argmin(values))]
    assert record["damage"] == pytest.approx(min(values), abs=1e-5)
