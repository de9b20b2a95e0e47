# SPDX-License-Identifier: Apache-2.0
"""Weights shared with deltas of low rank: closed form, budgets, exports, masks and training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from sharing_models import best_delta, checkpoint, normed, sequences, stored

MASK = ("ffn.2", "attn.3")
RIDGE = 1e-3
EQUAL = 1e-5  # of the largest logit: both sum in fp32, in another order


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("sharing") / "llama")


@pytest.fixture(scope="module")
def llama(directory: Path) -> pc.Model:
    return pc.open(directory)


@pytest.fixture(scope="module")
def data() -> pc.Data:
    return sequences()


def mask(model: pc.Model, *names: str) -> pc.Mask:
    return pc.Mask.remove(names or MASK, model.shape.n_blocks)


def delta(export: Path, weight: str) -> np.ndarray:
    """U V of an export."""
    tensors, place = stored(export), weight.removesuffix(".weight")
    return tensors[f"{place}.up.weight"] @ tensors[f"{place}.down.weight"]


def assert_same_logits(one: pc.Model, other: pc.Model, data: pc.Data) -> None:
    left, right = one.logits(data), other.logits(data)
    assert np.abs(left - right).max() <= EQUAL * np.abs(left).max()


def test_deltas_of_full_rank_give_the_model_back(llama: pc.Model, data: pc.Data) -> None:
    for given in (data, None):
        shared = llama.share(mask(llama), given, rank=10**6)
        assert {each.rank for each in shared.report} == {16, 32}
        assert_same_logits(shared.model, llama, data)
        assert all(each.error is not None and each.error < 1e-6 for each in shared.report)


def test_deltas_in_closed_form_are_those_of_the_formula(
    llama: pc.Model, directory: Path, data: pc.Data, tmp_path: Path
) -> None:
    shared = llama.share(mask(llama), data, rank=5)
    shared.model.export(tmp_path / "out", format="hf_custom")
    tensors = stored(directory)
    for sublayer, norm, name in (
        (5, "post_attention_layernorm", "mlp.up_proj"),
        (6, "input_layernorm", "self_attn.k_proj"),
    ):
        own, base = f"model.layers.{sublayer // 2}", f"model.layers.{1 if sublayer == 5 else 2}"
        x = normed(llama, data, sublayer, tensors[f"{own}.{norm}.weight"])
        weight, shares = tensors[f"{own}.{name}.weight"], tensors[f"{base}.{name}.weight"]
        moments = x.T @ x / len(x)
        wanted = best_delta(weight - shares, moments, 5, RIDGE)
        found = delta(tmp_path / "out", f"{own}.{name}.weight")
        assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
        rest = weight - shares - wanted
        error = np.sqrt(np.trace(rest @ moments @ rest.T) / np.trace(weight @ moments @ weight.T))
        told = next(each for each in shared.report if each.name == f"{own}.{name}.weight")
        assert told.error == pytest.approx(error, rel=1e-4)


def test_without_data_deltas_are_truncated_differences(
    llama: pc.Model, directory: Path, tmp_path: Path
) -> None:
    shared = llama.share(mask(llama, "ffn.3"), rank=4)
    shared.model.export(tmp_path / "out", format="hf_custom")
    tensors = stored(directory)
    for name in ("gate_proj", "down_proj"):
        own, base = (tensors[f"model.layers.{block}.mlp.{name}.weight"] for block in (3, 2))
        left, singular, right = np.linalg.svd(own - base, full_matrices=False)
        found = delta(tmp_path / "out", f"model.layers.3.mlp.{name}.weight")
        assert np.allclose(found, left[:, :4] * singular[:4] @ right[:4], atol=1e-5)
        told = next(each for each in shared.report if each.name.endswith(f"{name}.weight"))
        error = np.linalg.norm(singular[4:]) / np.linalg.norm(own)
        assert told.error == pytest.approx(error, rel=1e-4)


def test_a_fitted_scale_is_that_of_least_squares_and_lowers_the_error(
    llama: pc.Model, directory: Path, data: pc.Data, tmp_path: Path
) -> None:
    plain = llama.share(mask(llama, "ffn.2"), data, rank=4)
    shared = llama.share(mask(llama, "ffn.2"), data, rank=4, scaled=True)
    shared.model.export(tmp_path / "out", format="hf_custom")
    tensors = stored(directory)
    x = normed(llama, data, 5, tensors["model.layers.2.post_attention_layernorm.weight"])
    moments = x.T @ x / len(x)
    damped = moments + RIDGE * np.trace(moments) / len(moments) * np.eye(len(moments))
    name = "mlp.gate_proj.weight"
    own, base = (tensors[f"model.layers.{block}.{name}"] for block in (2, 1))
    scale = np.sum(own @ damped * base) / np.sum(base @ damped * base)
    told = next(each for each in shared.report if each.projection == "gate")
    assert told.scale == pytest.approx(scale, rel=1e-6)
    wanted = best_delta(own - told.scale * base, moments, 4, RIDGE)
    found = delta(tmp_path / "out", f"model.layers.2.{name}")
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    for with_scale, without in zip(shared.report, plain.report, strict=True):
        assert without.scale == 1
        assert float(with_scale.error or 0) < float(without.error or 0)
    with pc.open(tmp_path / "out") as again:
        assert again.shared_weights == shared.report
        assert_same_logits(again, shared.model, data)


def test_what_is_inside_a_sublayer_weighs_its_last_projection(
    llama: pc.Model, directory: Path, data: pc.Data, tmp_path: Path
) -> None:
    shared = llama.share(mask(llama, "ffn.2"), data, rank=6)
    shared.model.export(tmp_path / "out", format="hf_custom")
    tensors = stored(directory)
    own = {name: tensors[f"model.layers.2.mlp.{name}_proj.weight"] for name in ("gate", "up")}
    x = normed(llama, data, 5, tensors["model.layers.2.post_attention_layernorm.weight"])
    gate = x @ own["gate"].T
    inner = gate / (1 + np.exp(-gate)) * (x @ own["up"].T)
    name = "mlp.down_proj.weight"
    difference = tensors[f"model.layers.2.{name}"] - tensors[f"model.layers.1.{name}"]
    wanted = best_delta(difference, inner.T @ inner / len(inner), 6, RIDGE)
    found = delta(tmp_path / "out", f"model.layers.2.{name}")
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_a_budget_of_bytes_is_kept_and_beats_one_rank_for_all(
    llama: pc.Model, data: pc.Data
) -> None:
    removed = mask(llama, "ffn.2", "ffn.3", "attn.3")
    even = llama.share(removed, data, rank=6)
    spread = llama.share(removed, data, bytes=even.summary.bytes_shared)
    assert spread.summary.bytes_shared <= even.summary.bytes_shared
    assert len({each.rank for each in spread.report}) > 1

    def squares(found: pc.Shared) -> float:
        return sum(float(each.error or 0) ** 2 for each in found.report)

    assert squares(spread) < squares(even)


def test_the_best_base_is_that_with_the_least_error(llama: pc.Model, data: pc.Data) -> None:
    removed = mask(llama, "ffn.3")
    best = llama.share(removed, data, rank=4, base="best")
    alone = {}
    for kept in range(3):  # the nearest one that is kept, where the others go as well
        others = [f"ffn.{block}" for block in range(kept + 1, 3)]
        found = llama.share(mask(llama, "ffn.3", *others), data, rank=4)
        own = [each for each in found.report if each.sublayer == "ffn.3"]
        alone[own[0].base_sublayer] = sum(float(each.error or 0) ** 2 for each in own)
    assert best.report[0].base_sublayer == min(alone, key=lambda name: alone[name])


def test_an_export_opens_with_its_deltas_and_exports_again(
    llama: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    shared = llama.share(mask(llama), data, rank=5)
    shared.model.export(tmp_path / "one", format="hf_custom")
    with pc.open(tmp_path / "one") as again:
        assert again.shared_weights == shared.report
        assert again.shape.parameter_bytes == llama.shape.parameter_bytes - shared.bytes_saved
        assert_same_logits(again, shared.model, data)
        again.export(tmp_path / "two")  # "hf" keeps deltas, too
    weights = "model.safetensors"
    assert (tmp_path / "one" / weights).read_bytes() == (tmp_path / "two" / weights).read_bytes()
    record = json.loads((tmp_path / "two" / "prunecore.json").read_text())
    assert record["notes"]["shared"]["bytes"] == shared.summary.bytes_shared


def test_the_stored_file_lacks_what_is_saved(
    llama: pc.Model, directory: Path, data: pc.Data, tmp_path: Path
) -> None:
    shared = llama.share(mask(llama, "ffn.1", "ffn.2", "ffn.3"), data, rank=2)
    shared.model.export(tmp_path / "out", format="hf_custom")
    sizes = [
        sum(array.size for array in stored(place).values())
        for place in (directory, tmp_path / "out")
    ]
    assert 4 * (sizes[0] - sizes[1]) == shared.bytes_saved > 0


def test_other_formats_store_the_weights_whole(
    llama: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    shared = llama.share(mask(llama), data, rank=5)
    shared.model.export(tmp_path / "plain", format="hf_plain")
    with pc.open(tmp_path / "plain") as plain:
        assert plain.shared_weights == ()
        assert_same_logits(plain, shared.model, data)


def test_a_gguf_export_stores_the_weights_whole(
    llama: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    pytest.importorskip("gguf")
    shared = llama.share(mask(llama), data, rank=5)
    shared.model.export(tmp_path / "out.gguf", format="gguf")
    with pc.open(tmp_path / "out.gguf") as again:
        assert_same_logits(again, shared.model, data)
    shared.model.export(tmp_path / "custom", format="hf_custom")
    with pc.open(tmp_path / "custom") as opened:
        opened.export(tmp_path / "again.gguf", format="gguf")
    with pc.open(tmp_path / "again.gguf") as again:
        assert_same_logits(again, shared.model, data)


def test_exports_hold_adapters_beside_shared_weights(
    llama: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    pytest.importorskip("gguf")
    shared = llama.share(mask(llama), data, rank=5).model
    adapters = shared.recover(mask(shared, "attn.1"), data, kind="bias")
    recovered = adapters.attach(shared)
    for format_ in ("hf_custom", "gguf"):
        recovered.export(tmp_path / format_, format=format_)
        with pc.open(tmp_path / format_) as again:
            assert_same_logits(again, recovered, data)


def test_dense_exports_keep_the_type_that_weights_had(tmp_path: Path, data: pc.Data) -> None:
    from safetensors.torch import load_file

    source = checkpoint(tmp_path / "model", dtype=torch.bfloat16)
    with pc.open(source) as model:
        shared = model.share(mask(model), data, rank=5)
        assert shared.model.shape.element_type == "bf16"
        shared.model.export(tmp_path / "plain", format="hf_plain")
        shared.model.export(tmp_path / "custom", format="hf_custom")
    for place in ("plain", "custom"):
        tensors = load_file(tmp_path / place / "model.safetensors")
        assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


def test_a_shared_sublayer_whose_base_is_removed_is_stored_whole(
    llama: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    shared = llama.share(mask(llama, "ffn.2"), data, rank=5)
    removed = mask(llama, "ffn.1")
    shared.model.export(tmp_path / "out", removed, format="hf_custom")
    with pc.open(tmp_path / "out") as again:
        assert again.shared_weights == ()
        with shared.model.masked(removed):
            assert_same_logits(again, shared.model, data)


def test_a_shared_sublayer_can_be_removed(llama: pc.Model, data: pc.Data, tmp_path: Path) -> None:
    shared = llama.share(mask(llama), data, rank=5)
    removed = mask(llama, "ffn.2")
    shared.model.export(tmp_path / "out", removed, format="hf_custom")
    with pc.open(tmp_path / "out") as again:
        assert {each.sublayer for each in again.shared_weights} == {"attn.3"}
        with shared.model.masked(removed):
            assert_same_logits(again, shared.model, data)


def test_what_shares_already_can_share_anew(llama: pc.Model, data: pc.Data) -> None:
    first = llama.share(mask(llama, "ffn.2"), data, rank=3)
    second = first.model.share(mask(llama, "ffn.3"), data, rank=3)
    # The weights of ffn.2 are no longer stored: the nearest that are lie in ffn.1.
    assert {each.base_sublayer for each in second.report if each.sublayer == "ffn.3"} == {"ffn.1"}
    assert {each.sublayer for each in second.model.shared_weights} == {"ffn.2", "ffn.3"}
    with pytest.raises(pc.ArgumentError, match=r"ffn.1 stores the weights that ffn.\d shares"):
        second.model.share(mask(llama, "ffn.1"), data)


def test_a_shared_model_is_searched_and_recovered_as_any_other(
    llama: pc.Model, data: pc.Data
) -> None:
    shared = llama.share(mask(llama, "ffn.2"), data, rank=3)
    found = shared.model.search(data, "greedy", remove=1)
    adapters = shared.model.recover(found.mask, data, rank=4)
    with adapters.attach(shared.model) as recovered:
        assert np.isfinite(recovered.evaluate(data).loss)
        with pytest.raises(pc.UnsupportedError, match="has adapters"):
            recovered.share(mask(llama, "ffn.3"), data)


def test_training_lowers_the_loss_and_resumes_with_the_same_bits(
    llama: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    given = {
        "rank": 4, "objective": "kl", "steps": 12, "step_tokens": 100, "evaluate_every": 4,
        "checkpoint_every": 4, "seed": 5,
    }  # fmt: skip
    whole = llama.share(mask(llama), data, **given)
    summary = whole.summary
    assert summary.held_out_best is not None and summary.held_out_before is not None
    assert summary.held_out_best < summary.held_out_before
    assert all(each.error is None for each in whole.report)

    def stop(told: pc.TrainingProgress) -> bool:
        return told.step == 6

    with pytest.raises(pc.Cancelled):
        llama.share(mask(llama), data, checkpoint=tmp_path / "state", on_step=stop, **given)
    resumed = llama.share(mask(llama), data, checkpoint=tmp_path / "state", **given)
    assert resumed.summary.held_out_best == summary.held_out_best
    assert np.array_equal(resumed.model.logits(data), whole.model.logits(data))
    with pytest.raises(pc.FormatError, match="of another training"):
        llama.share(mask(llama), data, checkpoint=tmp_path / "state", **{**given, "ramp": 0.1})


@pytest.mark.parametrize(
    ("names", "options", "text"),
    [
        ((), {}, "removes no sublayer"),
        (("attn.0",), {}, "attn.0 has no sublayer of its kind"),
        (("ffn.1",), {"bytes": 100, "rank": 3}, "rank and bytes are both given"),
        (("ffn.1",), {"rank": 0}, "rank is 0"),
        (("ffn.1",), {"first_share": 1.5}, "first_share is 1.5"),
        (("ffn.1",), {"base": "farthest"}, "farthest"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    llama: pc.Model, data: pc.Data, names: tuple[str, ...], options: dict, text: str
) -> None:
    with pytest.raises(pc.ArgumentError, match=text):
        llama.share(pc.Mask.remove(names, llama.shape.n_blocks), data, **options)


def test_training_without_data_is_refused(llama: pc.Model) -> None:
    with pytest.raises(pc.ArgumentError, match="training needs data"):
        llama.share(mask(llama), objective="kl")


@pytest.mark.parametrize(
    ("member", "value", "text"),
    [
        ("base", "model.layers.3.mlp.up_proj.weight", "is no stored weight of that shape"),
        ("base", "nonsense", '"nonsense", which is no stored weight'),
        ("rank", 1000, "rank is 1000; the weight has at most 32"),
        ("rank", -1, "rank is -1"),
        ("rank", 4, r"model.layers.2.mlp.up_proj.up.weight.* has shape"),
    ],
)
def test_a_damaged_description_is_named(
    llama: pc.Model, data: pc.Data, tmp_path: Path, member: str, value: object, text: str
) -> None:
    llama.share(mask(llama), data, rank=5).model.export(tmp_path / "out", format="hf_custom")
    file = tmp_path / "out" / "config.json"
    config = json.loads(file.read_text())
    config["prunecore"]["shared"]["model.layers.2.mlp.up_proj.weight"][member] = value
    file.write_text(json.dumps(config))
    with pytest.raises(pc.FormatError, match=text):
        pc.open(tmp_path / "out")
