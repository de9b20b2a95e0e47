# SPDX-License-Identifier: Apache-2.0
"""`Model.merge_blocks`: what it is asked, and what it gives.

What is found is compared with another program in Tests/Python/parity/test_merge_parity.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import prunecore as pc
import pytest


@pytest.fixture(scope="module")
def text(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "stories.jsonl", model, 32)[:3]


def test_the_result_is_a_mask_for_the_edited_model(
    model: pc.Model, text: pc.Data, tmp_path: Path
) -> None:
    found = model.merge_blocks(text, remove=2)
    assert len(found.removed) == 4
    assert found.mask.edits[0]["kind"] == "merge"
    assert found.mask.provenance == found.provenance
    assert found.provenance["protected"] == ["block.11"]
    assert found.similarity > found.threshold
    found.save(tmp_path / "found.json")
    assert pc.MergeResult.load(tmp_path / "found.json") == found
    with model.edited(found.mask) as edited:
        assert edited.evaluate(text, found.mask).loss != model.evaluate(text, found.mask.keep).loss
        more = edited.merge_blocks(text, remove=1)
        assert more.mask.edits[: len(edited.edits)] == edited.edits
    assert model.merge_blocks(text, threshold=found.threshold, remove=None).mask == found.mask


def test_the_similarity_is_that_of_the_edited_model(model: pc.Model, text: pc.Data) -> None:
    found = model.merge_blocks(text, threshold=0.6, weight=0.5, rule="sum")
    assert any(step.accepted for step in found.steps)
    again = model.merge_blocks(text, threshold=0.6, weight=0.5, rule="sum", batch_tokens=16)
    assert again.mask == found.mask
    assert again.similarity == pytest.approx(found.similarity, abs=1e-6)


def test_protected_blocks_are_in_no_merge(model: pc.Model, text: pc.Data) -> None:
    for protect in (["block.9", 11], [9, "block.11"]):
        found = model.merge_blocks(text, threshold=1e-3, protect=protect)
        blocks = {number for edit in found.mask.edits for number in (edit["into"], *edit["from"])}
        assert blocks.isdisjoint({9, 11})
        assert len(blocks) > 2
    found = model.merge_blocks(text, threshold=1e-3, protect=[])
    assert any(step.high == 11 for step in found.steps)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": -2.0}, "threshold"),
        ({"weight": float("inf")}, "weight"),
        ({"remove": 11}, "10 blocks"),
        ({"remove": 0}, "remove"),
        ({"rule": "mean"}, "mean"),
        ({"protect": "attn.3"}, "half of a block"),
        ({"protect": ["block.12"]}, "block.12"),
        ({"protect": 12}, "12"),
        ({"protect": 2.5}, "2.5"),
        ({"thresold": 0.5}, "thresold"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    given: Any, words: str, model: pc.Model, text: pc.Data
) -> None:
    with pytest.raises((pc.ArgumentError, TypeError), match=words):
        model.merge_blocks(text, **given)


def test_a_merge_can_be_stopped(model: pc.Model, text: pc.Data) -> None:
    stages = []

    def stop(stage: str, done: int, total: int, seconds: float) -> bool:
        stages.append((stage, done <= total))
        return True

    with pytest.raises(pc.Cancelled):
        model.merge_blocks(text, progress=stop)
    assert stages == [("merge", True)]
