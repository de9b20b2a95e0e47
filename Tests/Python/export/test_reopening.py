# SPDX-License-Identifier: Apache-2.0
"""Prune, recover, export, open, and prune again: a loop that ends where one mask would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from family_subjects import FamilySubject, FamilySubjects
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> FamilySubjects:
    return FamilySubjects(tmp_path_factory.mktemp("families"))


def recovered(subject: FamilySubject, model: pc.Model, removed: str, kind: Any) -> pc.Adapters:
    mask = pc.Mask.remove(removed, subject.n_blocks)
    data = pc.Data(subject.sequences[:4])
    return model.recover(mask, data, kind=kind, rank=None if kind == "bias" else 2, held_out=data)


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "mixtral", "llama-lns"])
def test_three_times_around_the_loop(name: str, families: FamilySubjects, tmp_path: Path) -> None:
    subject = families(name)
    data = pc.Data(subject.sequences[:4])
    first = recovered(subject, subject.model, "ffn.0", "low_rank")
    one = subject.model.export(tmp_path / "one", adapters=first, format="hf_custom")
    exact = name != "llama-lns"  # whose factors are multiplied into the gains
    with pc.open(one, "float32") as model, first.attach(subject.model) as wanted:
        np.testing.assert_allclose(
            model.logits(data), wanted.logits(data), rtol=0, atol=0 if exact else 2e-5
        )
        assert model.mask == pc.Mask.all(subject.n_blocks) and model.shape.absent == ()
        assert model.adapters is not None and model.adapters.sublayers == ["ffn.0"]
        np.testing.assert_array_equal(model.adapters.get("ffn.0", "up"), first.get("ffn.0", "up"))
        prompts, new = [subject.sequences[1][:7]], {"max_new_tokens": 5}
        for found, same in zip(
            model.generate(prompts, **new).tokens,
            wanted.generate(prompts, **new).tokens,
            strict=True,
        ):
            np.testing.assert_array_equal(found, same)

        second = recovered(subject, model, "attn.2", "bias")
        two = model.export(tmp_path / "two", adapters=second, shard_bytes=20_000)
        with second.attach(model) as both, pc.open(two, "float32") as again:
            np.testing.assert_array_equal(again.logits(data), both.logits(data))
            assert again.adapters is not None and len(again.adapters) == 2
            # Takes the second adapter away, and a sublayer beside it.
            last = pc.Mask.remove(["attn.2", "ffn.1"], subject.n_blocks)
            three = again.export(tmp_path / "three", last)
            wanted_last = again.logits(data, last)
    with pc.open(three, "float32") as model:
        assert model.shape.absent == ("ffn.1", "attn.2") and model.mask == last
        np.testing.assert_array_equal(model.logits(data), wanted_last)
        np.testing.assert_array_equal(
            model.logits(data, pc.Mask.all(subject.n_blocks)), wanted_last
        )
        assert model.verify_export(three, model.mask).same
    record = json.loads((three / "prunecore.json").read_text())
    assert [each["removed"] for each in record["source"]["history"]] == [
        ["ffn.0"],
        ["ffn.0", "attn.2"],
    ]


def test_searches_games_and_scores_leave_out_what_is_absent(
    families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families("llama")
    gone = pc.Mask.remove(["attn.1", "ffn.2"], subject.n_blocks)
    out = subject.model.export(tmp_path / "out", gone)
    data = pc.Data(subject.sequences[:4])
    with pc.open(out, "float32") as model:
        assert model.cost().parameters == subject.model.cost(gone).parameters
        assert model.score(data, "cosine").prune(1).removed[-2:] != ["attn.1", "ffn.2"]
        assert len(model.score(data, "cosine").prune(1).removed) == 3
        found = model.search(data, remove=1)
        assert len(found.mask.removed) == 3 and not found.mask.keep[[2, 5]].any()
        game = model.shapley(data, estimator="exact")
        assert game.values[[2, 5]] == pytest.approx(0, abs=1e-9)
        assert len(game.prune(2).removed) == 4
        assert set(game.order()) == set(game.unit_names) - {"attn.1", "ffn.2"}
        with pytest.raises(pc.ArgumentError, match="nothing to emulate"):
            model.recover(gone, data)
        one = pc.Mask.remove("ffn.0", subject.n_blocks)
        adapters = model.recover(one, data, kind="bias", held_out=data)
        assert adapters.sublayers == ["ffn.0"] and len(adapters.mask.removed) == 3
        assert model.evaluate(data, one, adapters=adapters).loss > 0


def edited(directory: Path, config: dict[str, Any], **tensors: Any) -> Path:
    """A directory whose config.json has other members, and some tensors others; None = none."""
    path, weights = directory / "config.json", directory / "model.safetensors"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    stored = load_file(weights)
    for name, value in tensors.items():
        if value is None:
            stored = {key: own for key, own in stored.items() if not key.startswith(name)}
        else:
            stored[name] = value
    save_file(stored, weights)
    return directory


def test_checkpoints_of_llm_drop_and_of_nvidia(families: FamilySubjects, tmp_path: Path) -> None:
    subject = families("llama")
    n, data = subject.n_blocks, pc.Data(subject.sequences[:4])
    blocks, mask = "model.layers.1", pc.Mask.remove("attn.1", subject.n_blocks)
    whole = subject.model.export(tmp_path / "whole", pc.Mask.all(n), format="hf_plain")
    lean = edited(
        whole,
        {"drop_attn_list": [1], "drop_mlp_list": []},
        **{f"{blocks}.self_attn": None, f"{blocks}.input_layernorm": None},
    )
    with pc.open(lean, "float32") as model:
        assert model.shape.absent == ("attn.1",)
        np.testing.assert_array_equal(model.logits(data), subject.model.logits(data, mask))
    kept: dict[str, Any] = {"attention": {"n_heads_in_group": 2}, "ffn": {"intermediate_size": 52}}
    linear = kept | {"attention": {"n_heads_in_group": None, "replace_with_linear": True}}
    adapters = subject.model.recover(mask, data, kind="linear", held_out=data)
    matrix, gain = (adapters.get("attn.1", part) for part in ("matrix", "norm"))
    import torch

    nas = edited(
        whole,
        {
            "architectures": ["DeciLMForCausalLM"],
            "model_type": "nemotron-nas",
            "drop_attn_list": None,
            "block_configs": [kept, linear, *[kept] * (n - 2)],
        },
        **{
            f"{blocks}.self_attn.linear_attn.weight": torch.tensor(matrix),
            f"{blocks}.input_layernorm.weight": torch.tensor(gain),
        },
    )
    adapters.set("attn.1", "bias", np.zeros(len(gain)))
    with pc.open(nas, "float32") as model, adapters.attach(subject.model) as wanted:
        np.testing.assert_array_equal(model.logits(data), wanted.logits(data))
        assert model.adapters is not None and model.adapters["attn.1"].kind == "linear"


@pytest.mark.parametrize(
    ("part", "value", "text"),
    [
        ("up.weight", None, "up.weight' is missing"),
        ("up.weight", (3, 3), "has shape"),
        ("norm.weight", "nan", "not finite"),
    ],
)
def test_damaged_adapters_are_named(
    part: str, value: Any, text: str, families: FamilySubjects, tmp_path: Path
) -> None:
    import torch

    subject = families("llama")
    adapters = recovered(subject, subject.model, "ffn.0", "low_rank")
    out = subject.model.export(tmp_path / "out", adapters=adapters, format="hf_custom")
    width = adapters.summary.hidden_size
    made = value and (torch.full((width,), torch.nan) if value == "nan" else torch.zeros(value))
    edited(out, {}, **{f"model.layers.0.mlp.{part}": made})
    with pytest.raises(pc.FormatError, match=text.replace("'", "[\"']")):
        pc.open(out)
