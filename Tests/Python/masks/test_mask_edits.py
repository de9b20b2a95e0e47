# SPDX-License-Identifier: Apache-2.0
"""Masks that carry edits of the weights that stay."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest

MERGE = {"kind": "merge", "into": 3, "from": [4, 5], "weight": 0.5}
MASK = pc.Mask.remove(["block.4", "block.5"], 12, {"method": "by hand"}).with_edits([MERGE])
SHORT = pc.Data([list(range(5, 29)), list(range(40, 60)), [7, 8, 9, 3]])


def test_edits_are_part_of_a_mask_and_of_its_file(tmp_path: Path) -> None:
    assert MASK.edits == (MERGE,)
    MASK.save(tmp_path / "mask.json")
    read = pc.Mask.load(tmp_path / "mask.json")
    assert read == MASK
    assert (read.edits, read.removed, read.provenance) == (
        MASK.edits, MASK.removed, MASK.provenance,
    )  # fmt: skip
    record = json.loads(MASK.to_json())
    assert record["version"] == 2
    assert record["edits"] == [MERGE]
    plain = pc.Mask(MASK.keep)
    assert json.loads(plain.to_json())["version"] == 1
    assert "edits" not in json.loads(plain.to_json())
    assert pickle.loads(pickle.dumps(MASK)) == MASK
    assert pc.Mask.read(MASK.to_json()) == MASK


def test_masks_with_other_edits_are_other_masks() -> None:
    assert pc.Mask(MASK.keep) != MASK
    assert MASK.with_edits([{**MERGE, "weight": 0.25}]) != MASK
    assert MASK.with_edits([{**MERGE, "rule": "sum"}]) == MASK  # the rule that is meant anyway
    assert len({MASK, MASK.with_edits([MERGE]), pc.Mask(MASK.keep)}) == 2
    edits = MASK.edits
    edits[0]["weight"] = 9
    assert MASK.edits == (MERGE,)


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([{}], "kind"),
        ([{**MERGE, "into": 12}], "into"),
        ([{**MERGE, "from": [12]}], "12"),
        ([{**MERGE, "from": [3]}], "merged into"),
        ([MERGE, {**MERGE, "weight": "1"}], "edit 1.*weight"),
        ([{**MERGE, "extra": 1}], "extra"),
    ],
)
def test_what_is_no_edit_is_refused_by_name(edits: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(pc.FormatError, match=words):
        MASK.with_edits(edits)
    file = tmp_path / "mask.json"
    file.write_text(json.dumps({**json.loads(MASK.to_json()), "edits": edits}))
    with pytest.raises(pc.FormatError, match=words):
        pc.Mask.load(file)


def test_edits_must_be_json_in_a_list() -> None:
    for given in (3, "merge", [3], [{"kind": float("nan")}], [object()]):
        with pytest.raises(pc.ArgumentError):
            MASK.with_edits(given)  # type: ignore[arg-type]
    with pytest.raises(pc.UnsupportedError, match="sharpen"):
        MASK.with_edits([{"kind": "sharpen"}])


def test_notations_of_other_tools_cannot_say_edits() -> None:
    with pytest.raises(pc.UnsupportedError, match="prune_layers cannot say"):
        MASK.write("prune_layers")


def test_a_mask_is_refused_by_models_without_its_edits(model: pc.Model) -> None:
    calls = [
        lambda: model.evaluate(SHORT, MASK),
        lambda: model.evaluate_masks(SHORT, [MASK]),
        lambda: model.damages(SHORT, [MASK]),
        lambda: model.damages(SHORT, reference=MASK, measure="kl"),
        lambda: model.logits(SHORT, MASK),
        lambda: model.score(SHORT, "cosine", mask=MASK),
        lambda: model.search(SHORT, remove=1, start=MASK),
        lambda: model.recover(MASK, SHORT),
        lambda: model.generate([[3, 4]], mask=MASK),
        lambda: model.cost(MASK),
        lambda: setattr(model, "mask", MASK),
        lambda: model.export("nowhere", MASK),
        lambda: pc.Search(model, remove=1, start=MASK),
    ]
    for call in calls:
        with pytest.raises(pc.ArgumentError, match="model.edited"):
            call()


def test_masks_made_from_one_with_edits_keep_them(model: pc.Model) -> None:
    with model.edited(MASK) as edited:
        assert edited.mask.edits == MASK.edits
        scores = edited.score(SHORT, "cosine", mask=MASK)
        pruned = scores.prune(1, mask=MASK)
        found = edited.search(SHORT, "one_shot", "block", remove=1, start=MASK)
        assert pc.SearchResult.from_dict(found.to_dict()).mask == found.mask
    for mask, removed in ((pruned, 5), (found.mask, 6)):
        assert mask.edits == MASK.edits
        assert len(mask.removed) == removed


def test_edited_models_say_what_they_are(model: pc.Model, tales_dir: Path) -> None:
    with model.edited(MASK) as edited:
        assert edited.edits == MASK.edits
        assert edited.directory == tales_dir
        assert edited.provenance["edits_sha256"] != model.provenance.get("edits_sha256")
        again = model.edited([MERGE])
        assert again.provenance == edited.provenance
        twice = again.edited([{**MERGE, "into": 6}])
        assert twice.edits == (MERGE, {**MERGE, "into": 6})
        assert model.edits == ()
    assert again.evaluate(SHORT, MASK).loss == twice.base.evaluate(SHORT, MASK).loss
    with pytest.raises(pc.HandleError):
        edited.evaluate(SHORT)


def test_models_that_cannot_be_edited_say_so(model: pc.Model, tales_dir: Path) -> None:
    adapters = model.recover(pc.Mask(MASK.keep), SHORT, "bias")
    with adapters.attach(model) as recovered, pytest.raises(pc.UnsupportedError, match="adapters"):
        recovered.edited(MASK)
    with pytest.raises(pc.FormatError, match="into"):
        model.edited([{**MERGE, "into": 12}])
