# SPDX-License-Identifier: Apache-2.0
"""Exports of models whose weights were edited: their tensors, what they say, and verification."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from prunecore.export.gguf import export_gguf, read_gguf
from prunecore.tensors.own import own_tensors

MERGE = {"kind": "merge", "into": 3, "from": [4, 5], "weight": 0.3}
MASK = pc.Mask.remove(["block.4", "block.5"], 12).with_edits([MERGE])
SHORT = pc.Data(np.random.default_rng(1).integers(0, 2048, (2, 24)))


@pytest.fixture(scope="module")
def edited(model: pc.Model) -> pc.Model:
    return model.edited(MASK)


@pytest.mark.parametrize("format_", ["hf_plain", "hf_custom", "deci", "zeroed", "mlx"])
def test_directories_hold_the_edited_weights_and_say_so(
    format_: str, model: pc.Model, edited: pc.Model, tmp_path: Path
) -> None:
    path = edited.export(tmp_path / "out", MASK, format=format_)
    assert json.loads((path / "prunecore.json").read_text())["edits"] == [MERGE]
    if format_ == "mlx":
        return  # its runtime is not installed everywhere
    found = edited.verify_export(path, MASK, data=SHORT)
    assert found.same, found.findings
    assert edited.verify_export(path, data=SHORT).same  # the mask is that of the export
    plain = model.verify_export(path, MASK.keep, data=SHORT)
    assert any("edited otherwise" in finding for finding in plain.findings)
    assert any("logits differ" in finding for finding in plain.findings)
    if format_ != "zeroed":
        with pc.open(path) as opened:
            ours, theirs = edited.logits(SHORT, MASK), opened.logits(SHORT)
            assert np.abs(ours - theirs).max() < 1e-4


def test_gguf_files_hold_the_edited_weights_and_say_so(edited: pc.Model, tmp_path: Path) -> None:
    export_gguf(edited, tmp_path / "out.gguf", MASK)
    found = read_gguf(tmp_path / "out.gguf")
    assert found.mask == MASK
    with pc.open(tmp_path / "out.gguf") as opened:
        assert np.abs(opened.logits(SHORT) - edited.logits(SHORT, MASK)).max() < 1e-4
        # And a GGUF file whose weights are edited again.
        again = [{**MERGE, "into": 0, "from": [1]}]
        mask = pc.Mask.remove("block.1", 10).with_edits(again)
        with opened.edited(mask) as twice:
            export_gguf(twice, tmp_path / "twice.gguf", mask)
            ours = twice.logits(SHORT, mask)
            twice.export(tmp_path / "twice", mask, format="hf_plain")
    for name in ("twice.gguf", "twice"):
        with pc.open(tmp_path / name) as opened:
            assert np.abs(opened.logits(SHORT) - ours).max() < 1e-4


def test_the_tensors_that_the_library_holds_are_those_of_the_block(
    model: pc.Model, edited: pc.Model
) -> None:
    held = own_tensors(edited.handle)
    parts = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
    names = {*parts, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
    assert set(held) == {f"model.layers.3.{name}.weight" for name in names}
    assert {tensor.element_type for tensor in held.values()} == {"bf16"}
    assert own_tensors(model.handle) == {}


def test_bf16_products_of_an_edited_model_are_verified_in_float32(
    tales_dir: Path, tmp_path: Path
) -> None:
    try:
        opened = pc.open(tales_dir, "bfloat16")
    except pc.UnsupportedError:
        pytest.skip("this CPU has no bf16 products")
    with opened, opened.edited(MASK) as edited:
        path = edited.export(tmp_path / "out", MASK)
        found = edited.verify_export(path, MASK, data=SHORT)
    assert found.same, found.findings


def test_adapters_of_an_edited_model_are_exported_with_it(
    edited: pc.Model, tales_dir: Path, tmp_path: Path
) -> None:
    text = pc.Data.from_text(tales_dir / "stories.jsonl", edited, 32)[:6]
    adapters = edited.recover(MASK, text, "bias")
    path = edited.export(tmp_path / "out", MASK, adapters)
    assert edited.verify_export(path, MASK, adapters, data=SHORT).same
    with adapters.attach(edited) as recovered:
        assert recovered.edits == MASK.edits
        assert recovered.evaluate(text).loss < edited.evaluate(text, MASK).loss
