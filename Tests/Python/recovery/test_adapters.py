# SPDX-License-Identifier: Apache-2.0
"""Adapters as values: what they hold, attaching, files, folding."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest

MASK = pc.Mask.remove(["attn.3", "ffn.5", "block.8"], 12)


@pytest.fixture(scope="module")
def text(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "stories.jsonl", model, 128)[:12]


@pytest.fixture(scope="module", params=pc.ADAPTER_KINDS)
def adapters(request: pytest.FixtureRequest, model: pc.Model, text: pc.Data) -> pc.Adapters:
    return model.recover(MASK, text, request.param, 4)


@pytest.fixture
def low_rank(model: pc.Model, text: pc.Data) -> pc.Adapters:
    return model.recover(MASK, text, "low_rank", 4)


def epsilon(tales_dir: Path) -> float:
    return float(json.loads((tales_dir / "config.json").read_text())["rms_norm_eps"])


def test_there_is_one_for_each_sublayer_and_one_for_a_block(adapters: pc.Adapters) -> None:
    assert adapters.mask == MASK
    assert adapters.sublayers == ["attn.3", "ffn.5", "attn.8"]
    assert len(adapters) == 3
    kinds = {adapter.kind for adapter in adapters}
    (kind,) = kinds
    sizes = {"bias": 128, "low_rank": 128 + 2 * 4 * 128, "linear": 128 + 128**2}
    summary = adapters.summary
    assert summary.parameters == 3 * sizes[kind] == sum(a.parameters for a in adapters)
    assert (summary.n_blocks, summary.hidden_size, summary.n_adapters) == (12, 128, 3)
    assert summary.objective == "closed_form" and summary.trained_tokens == 0
    assert summary.held_out_before is None and adapters.history == []
    for adapter in adapters:
        assert adapter.rank == (4 if kind == "low_rank" else 0)
        assert adapter.input == ("raw" if kind == "bias" else "normed")


def test_norms_are_those_of_the_arrays(adapters: pc.Adapters) -> None:
    for adapter in adapters:
        arrays = adapters.arrays(adapter.name)
        assert adapter.parameters == sum(a.size for part, a in arrays.items() if part != "norm")
        assert adapter.bias_norm == pytest.approx(np.linalg.norm(arrays["bias"]), rel=1e-5)
        matrix = adapters.matrix(adapter.sublayer)
        assert matrix.shape == (128, 128)
        assert adapter.matrix_norm == pytest.approx(np.linalg.norm(matrix), rel=1e-4, abs=1e-12)


def test_attached_adapters_add_what_their_arrays_say(
    adapters: pc.Adapters, model: pc.Model, text: pc.Data, tales_dir: Path
) -> None:
    with adapters.attach(model) as recovered:
        assert isinstance(recovered, pc.RecoveredModel) and recovered.base is model
        for adapter in adapters:
            before = recovered.hidden_states(text[:2], adapter.sublayer).astype(float)
            after = recovered.hidden_states(text[:2], adapter.sublayer + 1)
            arrays = adapters.arrays(adapter.name)
            x = before
            if "norm" in arrays:
                mean = (before**2).mean(axis=1, keepdims=True)
                x = before / np.sqrt(mean + epsilon(tales_dir)) * arrays["norm"]
            wanted = before + arrays["bias"] + x @ adapters.matrix(adapter.name).T.astype(float)
            np.testing.assert_allclose(after, wanted, rtol=1e-4, atol=1e-4)
        # Nothing stands where the rest of the block was.
        np.testing.assert_array_equal(
            recovered.hidden_states(text[:2], 17), recovered.hidden_states(text[:2], 18)
        )


def test_recovered_models_are_models(low_rank: pc.Adapters, model: pc.Model, text: pc.Data) -> None:
    recovered = low_rank.attach(model)
    assert recovered.mask.removed == ["ffn.8"]  # one adapter stands for the whole block
    assert recovered.shape.absent == ("ffn.8",)
    before = model.evaluate(text, MASK).loss
    worth = recovered.evaluate(text).loss
    assert model.evaluate(text).loss < worth < before
    assert model.evaluate(text, adapters=low_rank).loss == worth
    assert model.evaluate(text, MASK, adapters=low_rank).loss == worth
    # Its own masks take adapters away: without all of them the pruned model is left.
    without = pc.Mask.remove(low_rank.sublayers, 12)
    assert recovered.evaluate(text, without).loss == pytest.approx(before, abs=1e-5)
    scores = recovered.score(text[:2], "cosine")
    assert scores["cosine"][17] == pytest.approx(0, abs=1e-6) and scores["cosine"][6] > 0
    logits = recovered.logits(pc.Data([[1, 5, 9]]))
    made = recovered.generate(pc.Data([[1, 5, 9]]), 1, stop_at_eos=False)
    assert made.tokens[0][0] == logits[-1].argmax()
    game = recovered.shapley(text[:1], granularity="block", estimator="leave_one_out")
    assert np.isfinite(game.values).all()
    provenance = recovered.provenance
    assert provenance["adapters_sha256"] == low_rank.digest
    assert provenance["config_sha256"] == model.provenance["config_sha256"]
    assert "RecoveredModel" in repr(recovered) and "attn.8" in repr(low_rank)


def test_attached_models_keep_what_they_have(
    low_rank: pc.Adapters, tales_dir: Path, text: pc.Data
) -> None:
    base = pc.open(tales_dir)
    recovered = low_rank.attach(base)
    worth = recovered.evaluate(text).loss
    low_rank.set("attn.3", "bias", np.ones(128))
    assert low_rank.attach(base).evaluate(text).loss != worth
    low_rank.close()
    base.close()
    assert recovered.evaluate(text).loss == worth
    with pytest.raises(pc.HandleError, match="closed"):
        _ = low_rank.summary


def test_arrays_of_an_adapter_can_be_replaced(low_rank: pc.Adapters) -> None:
    digest = low_rank.digest
    values = np.random.default_rng(0).normal(size=(4, 128)).astype(np.float32)
    low_rank.set(6, "down", values)
    np.testing.assert_array_equal(low_rank.get("attn.3", "down"), values)
    assert low_rank.digest != digest
    with pytest.raises(pc.ArgumentError, match=r"\(4, 128\).*\(128, 4\)"):
        low_rank.set("attn.3", "down", values.T)
    with pytest.raises(pc.NonFiniteError):
        low_rank.set("attn.3", "bias", np.full(128, np.nan))
    with pytest.raises(pc.ArgumentError):
        low_rank.set("attn.3", "norm", np.ones(128))
    with pytest.raises(pc.ArgumentError):
        low_rank.get("attn.3", "matrix")
    with pytest.raises(pc.ArgumentError, match="part is 'weight'"):
        low_rank.get("attn.3", "weight")  # type: ignore[arg-type]
    with pytest.raises(pc.ArgumentError, match=r"ffn\.8.*attn\.3, ffn\.5, attn\.8"):
        low_rank.get("ffn.8", "bias")
    for wrong in ("block.8", "attn.12", "head.1", 24, -1):
        with pytest.raises(pc.ArgumentError):
            low_rank.get(wrong, "bias")


def test_saved_adapters_are_the_same_again(
    adapters: pc.Adapters, model: pc.Model, text: pc.Data, tmp_path: Path
) -> None:
    adapters.save(tmp_path / "a" / "adapters", {"why": "a test"})
    again = pc.Adapters.load(tmp_path / "a" / "adapters")
    assert again.digest == adapters.digest and again.mask == MASK
    assert again.summary == adapters.summary
    assert list(again) == list(adapters)
    assert again.provenance == {**adapters.provenance, "why": "a test"}
    assert again.provenance["model"]["name"] == "tales-12l"
    assert again.provenance["data_sha256"] == text.digest
    assert model.evaluate(text, adapters=again) == model.evaluate(text, adapters=adapters)
    json.dumps(again.to_dict(), allow_nan=False)


def test_safetensors_reads_adapter_files(low_rank: pc.Adapters, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    low_rank.save(tmp_path)
    found = safetensors.load_file(tmp_path / "adapters.safetensors")
    names = {"bias", "down.weight", "up.weight", "norm.weight"}
    assert found.keys() == {f"{s}.{n}" for s in low_rank.sublayers for n in names}
    np.testing.assert_array_equal(found["ffn.5.up.weight"], low_rank.get("ffn.5", "up"))


def test_damaged_and_missing_adapter_files_are_refused(
    low_rank: pc.Adapters, tmp_path: Path
) -> None:
    with pytest.raises(pc.FileError, match="nowhere"):
        pc.Adapters.load(tmp_path / "nowhere")
    low_rank.save(tmp_path / "one")
    content = bytearray((tmp_path / "one" / "adapters.safetensors").read_bytes())
    content[-3] ^= 1
    (tmp_path / "one" / "adapters.safetensors").write_bytes(content)
    with pytest.raises(pc.FormatError, match=r"adapters\.safetensors"):
        pc.Adapters.load(tmp_path / "one")
    low_rank.save(tmp_path / "one")  # replaces what is damaged
    pc.Adapters.load(tmp_path / "one")
    (tmp_path / "one" / "adapters.json").write_text("{}")
    with pytest.raises(pc.FormatError, match=r"adapters\.json"):
        pc.Adapters.load(tmp_path / "one")
    (tmp_path / "file").write_text("")
    with pytest.raises(pc.FileError):
        low_rank.save(tmp_path / "file")
    with pytest.raises(pc.ArgumentError, match="provenance"):
        low_rank.save(tmp_path / "two", {"what": object()})


def test_adapters_of_another_model_or_mask(
    low_rank: pc.Adapters, model: pc.Model, text: pc.Data, tales_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(tales_dir, tmp_path / "other")
    path = tmp_path / "other" / "model.safetensors"
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    weights = np.frombuffer(content, dtype=np.uint8)[start + 1 :: 2]
    weights ^= 128  # the sign of every weight
    path.write_bytes(content)
    with pc.open(tmp_path / "other") as other, pytest.raises(pc.ArgumentError, match="model"):
        low_rank.attach(other)
    with pytest.raises(pc.ArgumentError, match=r"removes attn\.3, ffn\.5, .*removes attn\.1"):
        model.evaluate(text, pc.Mask.remove("attn.1", 12), adapters=low_rank)


def test_biases_fold_into_the_sublayer_before(model: pc.Model, text: pc.Data) -> None:
    mask = pc.Mask.remove(["attn.0", "ffn.4", "attn.5", "ffn.9"], 12)
    biases = model.recover(mask, text, "bias")
    rows, rest = biases.fold()
    assert rows.shape == (24, 128)
    # attn.4 stands before ffn.4 and attn.5, attn.9 before ffn.9; nothing before attn.0.
    np.testing.assert_allclose(
        rows[8], biases.get("ffn.4", "bias") + biases.get("attn.5", "bias"), rtol=1e-5
    )
    np.testing.assert_array_equal(rows[18], biases.get("ffn.9", "bias"))
    assert set(np.flatnonzero(rows.any(axis=1))) == {8, 18}
    assert rest.sublayers == ["attn.0"] and rest.mask == mask
    np.testing.assert_array_equal(rest.get("attn.0", "bias"), biases.get("attn.0", "bias"))


def test_matrices_of_adapters_do_not_fold(low_rank: pc.Adapters) -> None:
    rows, rest = low_rank.fold()
    assert not rows.any() and rest.digest == low_rank.digest
