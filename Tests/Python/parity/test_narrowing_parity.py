# SPDX-License-Identifier: Apache-2.0
"""Narrower feed-forwards of every family: against zeros in down, in transformers, in GGUF.

Where the columns of down that some neurons meet are zeros, these neurons add nothing: a model of
transformers with such zeros is what the narrower one must be equal to.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import prunecore as pc
import pytest
import torch
from family_case import Case
from family_models import family_sequences, write_case, write_family
from gguf_blocks import BLOCKS, TYPES, WIDTH, stored, write_blocks
from gguf_decoder import GGUFDecoder
from prunecore.export.gguf import export_gguf
from transformers import AutoModelForCausalLM

# One of each way to store a feed-forward: gated, plain with biases, transposed, stacked, parallel.
FAMILIES = (
    *("llama-biases", "qwen3", "gemma2", "phi3", "phi", "olmo2", "stablelm-parallel", "starcoder2"),
    *("glm4", "nemotron", "gpt2", "neox", "opt", "opt-post-norm", "cohere"),
)
LAST = ("down_proj", "fc2", "c_proj", "dense_4h_to_h")


def last_product(model: Any, block: int) -> Any:
    """The module of a block of transformers that multiplies the neurons, by its name alone."""
    number = re.compile(rf"\.{block}\.(.*\.)?({'|'.join(LAST)})$")
    found = [
        module
        for name, module in model.named_modules()
        if number.search(name) and "attn" not in name and "attention" not in name
    ]
    assert len(found) == 1
    return found[0]


def columns(module: Any) -> torch.Tensor:
    """The matrix with a column for each neuron, which writes go through to."""
    transposed = type(module).__name__ == "Conv1D"
    return module.weight.data.T if transposed else module.weight.data


def load(directory: Path) -> Any:
    trusting = "auto_map" in json.loads((directory / "config.json").read_text())
    return AutoModelForCausalLM.from_pretrained(
        directory, trust_remote_code=trusting, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def logits(model: Any, ids: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        found: np.ndarray = model(torch.tensor(ids)[None].long()).logits[0].numpy()
        return found


def far(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def chosen(count: int, width: int, seed: int) -> list[int]:
    random = np.random.default_rng(seed)
    return sorted(random.choice(width, count, replace=False).tolist())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_narrower_model_is_one_with_zeros_in_down(name: str, tmp_path: Path) -> None:
    write_family(name, tmp_path / "model")
    model, theirs = pc.open(tmp_path / "model", compute="float32"), load(tmp_path / "model")
    data, blocks = pc.Data(family_sequences()[1:]), model.shape.n_blocks

    seen: dict[int, list[np.ndarray]] = {block: [] for block in range(blocks)}
    hooks = [
        last_product(theirs, block).register_forward_pre_hook(
            lambda _m, given, block=block: seen[block].append(
                given[0].detach().numpy().reshape(-1, given[0].shape[-1])
            )
        )
        for block in range(blocks)
    ]
    for ids in data.sequences:
        logits(theirs, ids)
    for hook in hooks:
        hook.remove()
    scores = model.neuron_scores(data)
    for block in range(blocks):
        norms = np.mean([np.linalg.norm(rows, axis=0) for rows in seen[block]], axis=0)
        np.testing.assert_allclose(scores.norms[block], norms, rtol=1e-4, atol=1e-6)
        reach = columns(last_product(theirs, block)).norm(dim=0).numpy()
        root = np.sqrt(np.mean(np.concatenate(seen[block]) ** 2, axis=0))
        np.testing.assert_allclose(scores.contributions[block], root * reach, rtol=1e-4, atol=1e-6)

    width = scores.widths[0]
    uniform = {block: chosen(width - 9, width, block) for block in range(blocks)}
    for block, kept in uniform.items():
        gone = sorted(set(range(width)) - set(kept))
        columns(last_product(theirs, block))[:, gone] = 0
    narrowed = model.edited([{"kind": "narrow", "feed_forward": _keys(uniform)}])
    ids = data.sequences[-1]
    wanted = logits(theirs, ids)
    found = narrowed.logits(pc.Data([ids]))
    assert far(found, wanted) <= 1e-5
    assert narrowed.shape.feed_forward_size == width - 9
    assert narrowed.shape.parameters < model.shape.parameters
    out = narrowed.export(tmp_path / "out", format="hf_plain")
    assert far(logits(load(out), ids), found) <= 1e-5
    custom = pc.Mask.remove("attn.1", blocks)
    out = narrowed.export(tmp_path / "custom", custom, format="hf_custom")
    assert far(logits(load(out), ids), narrowed.logits(pc.Data([ids]), custom)) <= 1e-5
    with pc.open(out, compute="float32") as again:
        assert far(again.logits(pc.Data([ids])), narrowed.logits(pc.Data([ids]), custom)) <= 1e-6


@pytest.mark.parametrize("name", ["llama-llama3", "gemma3", "phi3", "gpt2", "neox", "qwen3"])
def test_narrower_models_are_written_as_gguf(name: str, tmp_path: Path) -> None:
    write_family(name, tmp_path / "model")
    model = pc.open(tmp_path / "model", compute="float32")
    data = pc.Data([family_sequences()[-1]])
    width = model.shape.feed_forward_size
    kept = {block: chosen(width // 2, width, block) for block in range(model.shape.n_blocks)}
    narrowed = model.edited([{"kind": "narrow", "feed_forward": _keys(kept)}])
    made = export_gguf(narrowed, tmp_path / "model.gguf", dtype="F32")
    with pc.open(made.path, compute="float32") as again:
        assert again.shape.feed_forward_size == width // 2
        assert far(again.logits(data), narrowed.logits(data)) <= 1e-5
        # Narrowed once more, from what the file stores, and back as a checkpoint.
        fewer = {0: list(range(5)), 1: [1, 2, 7, 8, 9]}
        fewer |= {block: list(range(5)) for block in range(2, again.shape.n_blocks)}
        twice = again.edited([{"kind": "narrow", "feed_forward": _keys(fewer)}])
        out = twice.export(tmp_path / "out", format="hf_plain")
        assert far(logits(load(out), data.sequences[0]), twice.logits(data)) <= 1e-5


def test_blocks_of_different_widths_are_exported_as_nemotron_nas(tmp_path: Path) -> None:
    write_case(Case("narrow", "Llama", "llama"), tmp_path / "model")
    model = pc.open(tmp_path / "model", compute="float32")
    data = pc.Data([family_sequences()[-1]])
    width = model.shape.feed_forward_size
    kept = {0: chosen(width - 3, width, 1), 1: chosen(7, width, 2)}
    narrowed = model.edited([{"kind": "narrow", "feed_forward": _keys(kept)}])
    mask = pc.Mask.remove("attn.1", model.shape.n_blocks)
    with pytest.raises(pc.UnsupportedError, match="block 1 has another width"):
        narrowed.export(tmp_path / "plain", format="hf_plain")
    out = narrowed.export(tmp_path / "deci", mask, format="deci")
    found = logits(load(out), data.sequences[0])
    assert far(found, narrowed.logits(data, mask)) <= 1e-5
    with pc.open(out, compute="float32") as again:
        assert far(again.logits(data), narrowed.logits(data, mask)) <= 1e-6
    made = export_gguf(narrowed, tmp_path / "model.gguf", mask, dtype="F32")
    with pc.open(made.path, compute="float32") as again:
        assert far(again.logits(data), narrowed.logits(data, mask)) <= 1e-5


@pytest.mark.parametrize("name", ["gemma2", "phi3", "gpt2", "opt", "neox", "starcoder2"])
def test_blocks_of_different_widths_are_exported_with_modelling_files(
    name: str, tmp_path: Path
) -> None:
    write_family(name, tmp_path / "model")
    model = pc.open(tmp_path / "model", compute="float32")
    data = pc.Data([family_sequences()[-1]])
    width = model.shape.feed_forward_size
    kept = {0: chosen(width - 5, width, 1), 2: chosen(7, width, 2)}
    narrowed = model.edited([{"kind": "narrow", "feed_forward": _keys(kept)}])
    mask = pc.Mask.remove("ffn.1", model.shape.n_blocks)
    out = narrowed.export(tmp_path / "out", mask)
    written = json.loads((out / "config.json").read_text())["prunecore"]
    assert (written["version"], written["removed"]) == (3, ["ffn.1"])
    loaded, wanted = load(out), narrowed.logits(data, mask)
    assert far(logits(loaded, data.sequences[0]), wanted) <= 1e-5
    loaded.save_pretrained(tmp_path / "again")
    assert far(logits(load(tmp_path / "again"), data.sequences[0]), wanted) <= 1e-5
    with pc.open(out, compute="float32") as again:
        assert far(again.logits(data), wanted) <= 1e-6
        assert again.shape.parameters == narrowed.cost(mask).parameters
        assert narrowed.verify_export(out, mask).same


@pytest.mark.parametrize("kind", TYPES)
def test_quantised_rows_and_whole_blocks_keep_their_type(kind: str, tmp_path: Path) -> None:
    path = write_blocks(tmp_path / "model.gguf", kind)
    size, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    before = stored(path)
    tokens = np.arange(9)
    with pc.open(path, compute="float32") as model:
        # The second is made of whole blocks of 32 neurons, the first is not.
        for kept in (list(range(3, 200)), [*range(32, 64), *range(96, 256)]):
            neurons = {str(block): kept for block in range(BLOCKS)}
            narrowed = model.edited([{"kind": "narrow", "feed_forward": neurons}])
            made = export_gguf(narrowed, tmp_path / "out.gguf", dtype="auto", replace=True)
            after = stored(made.path)
            rows = np.frombuffer(before["blk.1.ffn_up.weight"][1], np.uint8).reshape(WIDTH, -1)
            assert after["blk.1.ffn_up.weight"] == (kind, rows[kept].tobytes())
            down = np.frombuffer(before["blk.1.ffn_down.weight"][1], np.uint8)
            if size == 32 and len(kept) % 32 == 0:
                blocks = down.reshape(WIDTH, -1, block_bytes)[:, [k // 32 for k in kept[::32]]]
                assert after["blk.1.ffn_down.weight"] == (kind, blocks.tobytes())
            else:
                assert after["blk.1.ffn_down.weight"][0] == "BF16"
            found = narrowed.logits(pc.Data([tokens]))
            # Numbers of random blocks are large: what fp32 rounds shows.
            assert far(GGUFDecoder(made.path).logits(tokens), found) <= 1e-3
            with pc.open(made.path, compute="float32") as again:
                np.testing.assert_array_equal(again.logits(pc.Data([tokens])), found)
                assert again.shape.parameter_bytes == narrowed.shape.parameter_bytes


def test_mixtures_are_refused_by_name(tmp_path: Path) -> None:
    write_family("mixtral", tmp_path / "model")
    with pc.open(tmp_path / "model") as model:
        data = pc.Data([[1, 2, 3]])
        for call in (
            lambda: model.neuron_scores(data),
            lambda: model.edited([{"kind": "narrow", "feed_forward": {"0": [0]}}]),
            lambda: model.search(data, "2ssp", sparsity=0.2),
        ):
            with pytest.raises(pc.UnsupportedError, match="block 0 is a mixture of experts"):
                call()


def test_what_cannot_be_narrowed_is_said(tmp_path: Path) -> None:
    write_family("llama", tmp_path / "model")
    with pc.open(tmp_path / "model") as model:
        width, last = model.shape.feed_forward_size, model.shape.n_blocks - 1
        refusals = {
            f"neuron {width} of block 0": {"0": [0, width]},
            f"whole number from 0 to {last}": {str(last + 1): [0]},
            "not in ascending order": {"0": [2, 1]},
            "no array with a number": {"0": []},
        }
        for words, kept in refusals.items():
            with pytest.raises(pc.Error, match=words):
                model.edited([{"kind": "narrow", "feed_forward": kept}])


def _keys(kept: dict[int, list[int]]) -> dict[str, list[int]]:
    return {str(block): neurons for block, neurons in kept.items()}
