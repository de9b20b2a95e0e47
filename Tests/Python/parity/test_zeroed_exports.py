# SPDX-License-Identifier: Apache-2.0
"""Exports whose removed sublayers add zero: the masked model, in transformers' own classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from family_exports import far, reopened
from family_subjects import FamilySubject, FamilySubjects
from safetensors.numpy import load_file

CLOSE = 5e-5
FAMILIES = (
    "llama-lns",
    "qwen3",
    "gemma3",  # norms of updates
    "olmo2",
    "phi",  # side by side, behind one norm
    "neox",
    "cohere2",
    "gpt2",  # matrices stored inputs x outputs
    "opt-post-norm",  # norms of sums
    "granite-biases",  # updates scaled
    "qwen2-moe",  # shared experts with a gate
    "granitemoe-shared",  # experts in one tensor
    "gpt-oss",  # experts with biases
)


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> FamilySubjects:
    return FamilySubjects(tmp_path_factory.mktemp("families"))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_of_all_blocks_computes_the_masked_model(
    name: str, families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families(name)
    mask = pc.Mask(subject.masks["random-0"])
    out = subject.model.export(tmp_path / "out", mask, format="zeroed")
    assert "auto_map" not in json.loads((out / "config.json").read_text())
    assert reopened(subject, mask, out) <= CLOSE
    with pc.open(out, compute="float32") as again:
        assert again.shape.n_blocks == subject.n_blocks
        wanted = subject.model.logits(subject.data, mask)
        assert far(again.logits(subject.data), wanted) <= CLOSE
    if name == "gpt2":
        assert subject.model.verify_export(out, mask).same
        zero = {
            key for key, value in load_file(out / "model.safetensors").items() if not value.any()
        }
        names = [sublayer.split(".") for sublayer in mask.removed]
        assert zero == {
            f"transformer.h.{block}.{'attn' if kind == 'attn' else 'mlp'}.c_proj.{part}"
            for kind, block in names
            for part in ("weight", "bias")
        }


@pytest.mark.parametrize("name", ["llama", "gpt2", "phi", "gemma3", "granitemoe-shared"])
def test_what_a_model_lacks_is_there_again(
    name: str, families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families(name)
    first = pc.Mask.remove(["attn.0", "ffn.1"], subject.n_blocks)
    subject.model.export(tmp_path / "one", first, format="hf_custom")
    both = pc.Mask.remove([*first.removed, "attn.1"], subject.n_blocks)
    with pc.open(tmp_path / "one", compute="float32") as opened:
        out = opened.export(tmp_path / "two", both, format="zeroed")
    assert reopened(subject, both, out) <= CLOSE


def test_a_bias_moves_into_the_output_bias_of_what_was_absent(
    families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families("gpt2")
    adapters = with_biases(subject, (0,))
    subject.model.export(tmp_path / "one", adapters=adapters, format="hf_custom")
    with pc.open(tmp_path / "one", compute="float32") as opened:
        out = opened.export(tmp_path / "two", format="zeroed")
        assert opened.verify_export(out).same


def with_biases(
    subject: FamilySubject, removed: tuple[int, ...], slot: str = "both"
) -> pc.Adapters:
    keep = np.ones(2 * subject.n_blocks, dtype=np.uint8)
    keep[list(removed)] = 0
    return subject.model.recover(
        keep, subject.data, kind="bias", block_slot=slot, held_out=subject.data
    )


@pytest.mark.parametrize(
    ("name", "removed", "folded"),
    [
        # In the output biases of the sublayers themselves.
        ("gpt2", (0, 3), ["transformer.h.0.attn.c_proj", "transformer.h.1.mlp.c_proj"]),
        # Side by side, the feed-forward reads what the adapter of the attention adds.
        ("neox", (2,), ["gpt_neox.layers.0.mlp.dense_4h_to_h"]),
        (
            "neox",
            (2, 3),
            ["gpt_neox.layers.1.attention.dense", "gpt_neox.layers.1.mlp.dense_4h_to_h"],
        ),
        # A mixture has no one output bias: the attention before it has.
        ("gpt-oss", (3,), ["model.layers.1.self_attn.o_proj"]),
    ],
)
def test_biases_move_into_output_biases(
    name: str, removed: tuple[int, ...], folded: list[str], families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families(name)
    adapters = with_biases(subject, removed)
    out = subject.model.export(tmp_path / "out", adapters=adapters, format="zeroed")
    document = json.loads((out / "prunecore.json").read_text())
    assert document["notes"]["folded"] == [f"{module}.bias" for module in folded]
    assert subject.model.verify_export(out, adapters=adapters).same


def test_adapters_without_a_place_are_refused(families: FamilySubjects, tmp_path: Path) -> None:
    def refuse(name: str, adapters: pc.Adapters, words: str) -> None:
        with pytest.raises(pc.UnsupportedError, match=f"{words}.*hf_custom can"):
            families(name).model.export(tmp_path / "out", adapters=adapters, format="zeroed")

    # Nothing before block 0 could add what its feed-forward is to read.
    refuse("neox", with_biases(families("neox"), (0,)), r"attn\.0 finds no output bias")
    refuse("llama", with_biases(families("llama"), (3,)), r"ffn\.1 finds no output bias")
    # A norm would change the constant.
    refuse("gemma3", with_biases(families("gemma3"), (3,)), r"ffn\.1 finds no output bias")
    subject = families("gpt2")
    matrices = subject.model.recover(
        pc.Mask.remove(["ffn.1"], subject.n_blocks),
        subject.data,
        kind="low_rank",
        rank=2,
        held_out=subject.data,
    )
    refuse("gpt2", matrices, r"ffn\.1 is low_rank")
