# SPDX-License-Identifier: Apache-2.0
"""Opening and closing a model; its shape, its mask, its cost."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from safetensors import safe_open

ONE = [[1, 5, 9, 11]]


def test_shape_is_that_of_the_files(tales: pc.Model, tales_dir: Path) -> None:
    config = json.loads((tales_dir / "config.json").read_text())
    with safe_open(tales_dir / "model.safetensors", "np") as file:
        sizes = {name: np.prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    shape = tales.shape
    assert shape.architecture == config["architectures"][0]
    assert shape.element_type == "bf16"
    assert shape.n_blocks == config["num_hidden_layers"]
    assert shape.hidden_size == config["hidden_size"]
    assert shape.feed_forward_size == config["intermediate_size"]
    assert shape.n_heads == config["num_attention_heads"]
    assert shape.n_kv_heads == config["num_key_value_heads"]
    assert shape.head_size == config["head_dim"]
    assert shape.vocabulary_size == config["vocab_size"]
    assert shape.context_length == config["max_position_embeddings"]
    assert shape.tied_embeddings is True
    assert shape.parameters == sum(sizes.values())
    assert shape.parameter_bytes == 2 * shape.parameters
    assert shape.kv_bytes == 12 * 2 * 4 * 16 * 2  # blocks, K and V, heads, size, bytes
    assert shape.can_read_states and shape.can_read_weights and shape.has_gradients
    for index, sublayer in enumerate(tales.sublayers):
        block, is_feed_forward = divmod(index, 2)
        assert (sublayer.block, sublayer.is_feed_forward) == (block, bool(is_feed_forward))
        assert sublayer.name == f"{'ffn' if is_feed_forward else 'attn'}.{block}"
        parts = (
            ("mlp.", "post_attention_layernorm")
            if is_feed_forward
            else (
                "self_attn.",
                "input_layernorm",
            )
        )
        prefixes = tuple(f"model.layers.{block}.{part}" for part in parts)
        wanted = sum(size for name, size in sizes.items() if name.startswith(prefixes))
        assert sublayer.parameters == wanted
        assert sublayer.window == 0
    assert len(tales.sublayers) == 24


def test_dataclasses_have_the_fields_of_the_structs() -> None:
    from prunecore._raw_generated import ffi

    for kind, struct in (
        (pc.ModelShape, "prune_model_shape"),
        (pc.Sublayer, "prune_sublayer"),
        (pc.Cost, "prune_cost"),
        (pc.Evaluation, "prune_evaluation"),
    ):
        fields = {name for name, _ in ffi.typeof(struct).fields} - {"struct_size", "reserved"}
        # What is absent is told by a call of its own.
        assert set(kind.__dataclass_fields__) - {"absent"} == fields


def test_cost_of_a_mask_is_what_its_sublayers_hold(tales: pc.Model) -> None:
    whole = tales.cost()
    assert whole.sublayers_removed == 0 and whole.parameters == tales.shape.parameters
    mask = pc.Mask.remove(["attn.3", "ffn.7", "block.9"], 12)
    gone = [sublayer for sublayer in tales.sublayers if sublayer.name in mask.removed]
    cost = tales.cost(mask)
    assert cost.sublayers_removed == 4
    assert cost.parameters == whole.parameters - sum(s.parameters for s in gone)
    assert cost.parameter_bytes == whole.parameter_bytes - sum(s.parameter_bytes for s in gone)
    assert cost.kv_bytes == whole.kv_bytes * 10 // 12
    with tales.masked(mask):
        assert tales.cost() == cost


def test_mask_is_set_read_and_reset(tales: pc.Model) -> None:
    assert tales.mask == pc.Mask.all(12)
    mask = pc.Mask.remove("ffn.2", 12)
    tales.mask = mask
    assert tales.mask == mask
    tales.mask = [0, 1] * 12
    assert tales.mask.removed == [f"attn.{block}" for block in range(12)]
    for wrong in ([1, 1], [2] * 24, "attn.1"):
        with pytest.raises(pc.ArgumentError):
            tales.mask = wrong
    assert len(tales.mask.removed) == 12
    tales.mask = None
    assert tales.mask == pc.Mask.all(12)


def test_masked_restores_whatever_happens(tales: pc.Model) -> None:
    outer, inner = pc.Mask.remove("ffn.2", 12), pc.Mask.remove("attn.4", 12)
    data = pc.Data(ONE)
    free = tales.evaluate(data).loss
    with tales.masked(outer) as model:
        assert model is tales and tales.mask == outer
        assert tales.evaluate(data).loss == tales.evaluate(data, outer).loss != free
        with pytest.raises(RuntimeError, match="boom"), tales.masked(inner):
            assert tales.mask == inner
            raise RuntimeError("boom")
        assert tales.mask == outer
    assert tales.mask == pc.Mask.all(12)
    assert tales.evaluate(data).loss == free
    with tales.masked(inner):
        tales.close()  # nothing is left to restore


def test_use_after_close_says_so(tales_dir: Path) -> None:
    model = pc.open(tales_dir)
    statistics = model.statistics()
    data = pc.Data(ONE)
    assert not model.closed
    model.close()
    model.close()
    assert model.closed and "closed" in repr(model)
    for use in (
        lambda: model.shape,
        lambda: model.sublayers,
        lambda: model.mask,
        lambda: model.cost(),
        lambda: model.evaluate(data),
        lambda: model.score(data),
        lambda: statistics.collect(data),
        lambda: model.logits(data),
        lambda: model.__enter__().evaluate(data),
    ):
        with pytest.raises(pc.HandleError, match="the model is closed"):
            use()
    statistics.close()
    with pytest.raises(pc.HandleError, match="the statistics is closed"):
        statistics.scores()


def test_models_are_given_back_without_close(tales_dir: Path) -> None:
    for _ in range(50):
        pc.open(tales_dir)
    gc.collect()
    with pc.open(tales_dir) as model:
        assert model.shape.n_blocks == 12
    assert model.closed


def test_interpreter_ends_quietly_with_open_models(tales_dir: Path) -> None:
    code = (
        "import sys, prunecore as pc\n"
        "model = pc.open(sys.argv[1]); data = pc.Data([[1, 2, 3]])\n"
        "cycle = [model]; cycle.append(cycle)\n"
        "statistics = model.statistics(data)\n"
        "print(model.evaluate(data).tokens)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tales_dir)], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def test_missing_and_damaged_models_are_named(tales_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(pc.FileError, match="nowhere"):
        pc.open(tmp_path / "nowhere")
    with pytest.raises(pc.ArgumentError, match="NUL"):
        pc.open("a\0b")
    broken = tmp_path / "broken"
    shutil.copytree(tales_dir, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(pc.FormatError, match="safetensors"):
        pc.open(broken)
    config = json.loads((broken / "config.json").read_text())
    config["architectures"] = ["MambaForCausalLM"]
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(pc.UnsupportedError, match="MambaForCausalLM"):
        pc.open(broken)


def test_path_with_unusual_characters(tales_dir: Path, tmp_path: Path) -> None:
    linked = tmp_path / "mödel 語 %s"
    linked.symlink_to(tales_dir)
    with pc.open(linked) as model:
        assert model.shape.n_blocks == 12
        assert model.directory == linked
    with pc.open(str(tales_dir)) as model:
        assert model.provenance["name"] == "tales-12l"
        assert len(model.provenance["config_sha256"]) == 64
