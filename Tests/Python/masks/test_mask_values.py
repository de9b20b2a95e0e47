# SPDX-License-Identifier: Apache-2.0
"""Masks as values: making them, comparing them, JSON."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest


def test_names_and_bytes_say_the_same() -> None:
    mask = pc.Mask([1, 0, 0, 1, 0, 0])
    assert mask.n_blocks == 3 and len(mask) == 6
    assert mask.removed == ["ffn.0", "attn.1", "attn.2", "ffn.2"]
    assert mask.kept == ["attn.0", "ffn.1"]
    assert pc.Mask.remove(["ffn.0", "attn.1", "block.2"], 3) == mask
    assert pc.Mask.remove("block.1", 2).keep.tolist() == [1, 1, 0, 0]
    assert pc.Mask.all(2).keep.tolist() == [1, 1, 1, 1]
    assert mask.keep.dtype == np.uint8


def test_mask_is_immutable() -> None:
    source = np.ones(4, dtype=np.uint8)
    mask = pc.Mask(source, {"metric": "cosine", "list": [1]})
    source[0] = 0
    assert mask.removed == []
    with pytest.raises(ValueError, match="read-only"):
        mask.keep[0] = 0
    mask.provenance["list"].append(2)
    assert mask.provenance == {"metric": "cosine", "list": [1]}
    with pytest.raises(AttributeError):
        mask.keep = source  # type: ignore[misc]


def test_equality_is_that_of_the_bytes() -> None:
    one, same = pc.Mask([1, 0]), pc.Mask(np.array([True, False]), {"seed": 1})
    assert one == same and hash(one) == hash(same)
    assert one != pc.Mask([0, 1]) and one != pc.Mask([1, 0, 1, 1])
    assert one != [1, 0]
    assert len({one, same, pc.Mask([0, 1])}) == 2
    again = pickle.loads(pickle.dumps(same))
    assert again == same and again.provenance == {"seed": 1}
    assert np.array_equal(np.asarray(one), [1, 0])


@pytest.mark.parametrize(
    "keep", [[], [1], [1, 1, 1], [1, 2], [0.5, 1], [[1, 1]], ["a", "b"], [[1], [1, 1]], [1, -1]]
)
def test_what_is_no_mask_is_refused(keep: object) -> None:
    with pytest.raises(pc.ArgumentError):
        pc.Mask(keep)


@pytest.mark.parametrize(
    "name", ["attn", "attn.", "attn.x", "mlp.1", "attn.3", "ffn.-1", "attn.1.2", "attn.²", ""]
)
def test_unknown_names_of_sublayers_are_refused(name: str) -> None:
    with pytest.raises(pc.ArgumentError, match="attn|ffn|block"):
        pc.Mask.remove(["ffn.0", name], 3)


def test_json_has_the_documented_fields() -> None:
    mask = pc.Mask.remove(["attn.3", "ffn.7"], 12, {"metric": "cosine", "seed": 5})
    assert json.loads(mask.to_json()) == {
        "format": "prunecore.mask",
        "version": 1,
        "n_blocks": 12,
        "removed": ["attn.3", "ffn.7"],
        "provenance": {"metric": "cosine", "seed": 5},
    }


@pytest.mark.parametrize("removed", [[], ["attn.0"], [f"block.{i}" for i in range(40)]])
def test_mask_comes_back_from_json(removed: list[str], tmp_path: Path) -> None:
    provenance = {"text": 'quotes " and \\ and é and 語', "deep": {"a": [1, 2.5, None, True]}}
    mask = pc.Mask.remove(removed, 40, provenance)
    path = tmp_path / "mask.json"
    mask.save(path)
    for again in (pc.Mask.from_json(mask.to_json()), pc.Mask.load(path)):
        assert again == mask
        assert again.provenance == provenance


def test_provenance_of_a_mask_must_be_json() -> None:
    for wrong in ({"a": object()}, {"a": float("nan")}):
        with pytest.raises(pc.ArgumentError, match="provenance"):
            pc.Mask([1, 1], wrong)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "{",
        '{"format": "other", "version": 1, "n_blocks": 2, "removed": []}',
        '{"format": "prunecore.mask", "version": 1, "n_blocks": 2, "removed": ["attn.2"]}',
        '{"format": "prunecore.mask", "version": 1, "n_blocks": 2, "removed": ["mlp.1"]}',
        '{"format": "prunecore.mask", "version": 1, "n_blocks": -2, "removed": []}',
        '{"format": "prunecore.mask", "version": 1, "n_blocks": 1e30, "removed": []}',
        '{"format": "prunecore.mask", "version": 1, "n_blocks": 2, "removed": "attn.1"}',
        '{"format": "prunecore.mask", "version": 1, "removed": []}',
        "a\0b",
    ],
)
def test_damaged_json_of_a_mask_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(pc.FormatError):
        pc.Mask.from_json(text)
    path = tmp_path / "mask.json"
    path.write_text(text)
    with pytest.raises(pc.FormatError, match=r"mask\.json"):
        pc.Mask.load(path)


def test_masks_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.json"
    path.write_text('{"format": "prunecore.mask", "version": 99, "n_blocks": 2, "removed": []}')
    with pytest.raises((pc.FormatError, pc.UnsupportedError), match=r"mask\.json.*version"):
        pc.Mask.load(path)


def test_missing_file_of_a_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(pc.FileError, match=r"gone\.json cannot be read"):
        pc.Mask.load(tmp_path / "gone.json")
