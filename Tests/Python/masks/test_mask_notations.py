# SPDX-License-Identifier: Apache-2.0
"""Masks in the notations of other tools: what these write, what they read, and there and back."""

from __future__ import annotations

import json
from pathlib import Path

import prunecore as pc
import pytest
from prunecore.masks.notations import NOTATIONS

# As the tools write them.
EVOPRESS = "none\nattn\nmlp\nattn+mlp\n"
BLOCKPRUNER = (
    '{"1": [["mha", 26]], "2": [["mha", 26], ["mlp", 3]], '
    '"3": [["mha", 26], ["mlp", 3], ["mlp", 26]]}'
)
LLM_DROP = '{"num_hidden_layers": 28, "drop_attn_list": [25, 26, 24, 22], "drop_mlp_list": []}'
LLM_DROP_FLAGS = (
    '{"drop_attn_list": [false, true, false, true], "drop_mlp_list": [false, false, true, false]}'
)
MERGEKIT = """\
slices:
  - sources:
      - model: meta-llama/Llama-2-7b-hf
        layer_range: [0, 21]
  - sources:
      - model: meta-llama/Llama-2-7b-hf
        layer_range: [29, 32]
merge_method: passthrough
dtype: bfloat16
"""
BLOCK_CONFIGS = """
{ "architectures": ["DeciLMForCausalLM"], "model_type": "nemotron-nas", "num_hidden_layers": 2,
  "block_configs": [
    {"attention": {"n_heads_in_group": 4, "no_op": false, "replace_with_linear": false},
     "ffn": {"ffn_mult": 5.25, "no_op": false, "replace_with_linear": false, "sparsify": null}},
    {"attention": {"n_heads_in_group": null, "no_op": true, "replace_with_linear": false},
     "ffn": {"ffn_mult": null, "no_op": true, "replace_with_linear": false, "sparsify": null}} ] }
"""
PER_LAYER = (
    '{"num_hidden_layers": 12, "per_layer_config": '
    '{"08": {"skip": ["attention"]}, '
    '"11": {"skip": ["attention", "mlp"], "num_key_value_heads": 4}}}'
)


@pytest.mark.parametrize(
    ("text", "notation", "n_blocks", "removed"),
    [
        (EVOPRESS, "evopress", None, ["attn.1", "ffn.2", "attn.3", "ffn.3"]),
        (BLOCKPRUNER, "blockpruner", 32, ["ffn.3", "attn.26", "ffn.26"]),
        (LLM_DROP, "llm_drop", None, ["attn.22", "attn.24", "attn.25", "attn.26"]),
        (LLM_DROP_FLAGS, "llm_drop", None, ["attn.1", "ffn.2", "attn.3"]),
        (MERGEKIT, "mergekit", 32, [f"{k}.{i}" for i in range(21, 29) for k in ("attn", "ffn")]),
        ("3,7,11\n", "prune_layers", 12, [f"{k}.{i}" for i in (3, 7, 11) for k in ("attn", "ffn")]),
        (BLOCK_CONFIGS, "block_configs", None, ["attn.1", "ffn.1"]),
        (PER_LAYER, "per_layer_config", None, ["attn.8", "attn.11", "ffn.11"]),
    ],
)  # fmt: skip
def test_notations_read_what_other_tools_write(
    text: str, notation: str, n_blocks: int | None, removed: list[str], tmp_path: Path
) -> None:
    found = pc.Mask.read(text, notation, n_blocks)
    assert found.removed == removed
    assert n_blocks is None or found.n_blocks == n_blocks
    assert pc.Mask.read(text, n_blocks=n_blocks) == found  # the notation is recognised
    file = tmp_path / "mask"
    file.write_text(text)
    assert pc.Mask.read(file, n_blocks=n_blocks) == found
    assert pc.Mask.read(str(file), notation, n_blocks) == found
    # What we write is read as the same mask, by name and unnamed.
    written = found.write(notation, model="m")
    assert pc.Mask.read(written, notation, found.n_blocks) == found
    assert pc.Mask.read(written, n_blocks=found.n_blocks) == found


def test_what_we_write_is_what_the_tools_read() -> None:
    mask = pc.Mask.remove(["attn.1", "ffn.2", "block.3"], 4)
    assert mask.write("evopress") == EVOPRESS
    listed = {"4": [["mha", 1], ["mlp", 2], ["mha", 3], ["mlp", 3]]}
    assert json.loads(mask.write("blockpruner")) == listed
    assert json.loads(mask.write("llm_drop")) == {
        "drop_attn_list": [1, 3], "drop_mlp_list": [2, 3], "num_hidden_layers": 4
    }  # fmt: skip
    skips = {"1": {"skip": ["attention"]}, "2": {"skip": ["mlp"]}}
    found = json.loads(mask.write("per_layer_config"))["per_layer_config"]
    assert found == {**skips, "3": {"skip": ["attention", "mlp"]}}
    blocks = json.loads(mask.write("block_configs"))["block_configs"]
    assert [(b["attention"]["no_op"], b["ffn"]["no_op"]) for b in blocks] == [
        (False, False), (True, False), (False, True), (True, True)
    ]  # fmt: skip
    assert pc.Mask.from_json(mask.write()) == mask
    whole = pc.Mask.remove([f"block.{i}" for i in range(21, 29)], 32)
    assert whole.write("mergekit", model="meta-llama/Llama-2-7b-hf") == MERGEKIT.replace(
        "meta-llama/Llama-2-7b-hf", '"meta-llama/Llama-2-7b-hf"'
    )
    assert pc.Mask.remove(["block.3", "block.7"], 12).write("prune_layers") == "3,7\n"
    assert '"08": {' in pc.Mask.remove("attn.8", 12).write("per_layer_config")


@pytest.mark.parametrize("notation", NOTATIONS)
def test_masks_come_back_from_every_notation(notation: str) -> None:
    whole = notation in ("mergekit", "prune_layers")
    for removed in (["block.0"], ["block.4"], ["block.1", "block.2"], ["attn.0", "ffn.4"]):
        mask = pc.Mask.remove(removed, 5)
        if whole and "attn.0" in removed:
            with pytest.raises(pc.UnsupportedError, match=r"a part of: block\.0, block\.4"):
                mask.write(notation, model="m")
            continue
        assert pc.Mask.read(mask.write(notation, model="m"), notation, 5) == mask


def test_a_file_that_is_not_there_is_not_taken_for_a_mask(tmp_path: Path) -> None:
    for name in (str(tmp_path / "gone"), "gone.json"):
        with pytest.raises(pc.FileError, match="gone.* cannot be read"):
            pc.Mask.read(name, n_blocks=3)


def test_notations_can_say_that_nothing_is_removed() -> None:
    for notation in set(NOTATIONS) - {"prune_layers"}:
        whole = pc.Mask.all(3)
        assert pc.Mask.read(whole.write(notation, model="m"), notation, 3) == whole
    assert pc.Mask.read("\n", "prune_layers", 3) == pc.Mask.all(3)


@pytest.mark.parametrize(
    ("text", "notation", "n_blocks", "kind", "words"),
    [
        ("none\nattention\n", "evopress", None, pc.FormatError, "line 2 is 'attention'"),
        ("", "evopress", None, pc.FormatError, "no line"),
        (EVOPRESS, "evopress", 5, pc.ArgumentError, "for 4 blocks, but n_blocks says 5"),
        (BLOCKPRUNER, "blockpruner", None, pc.ArgumentError, "give n_blocks"),
        (BLOCKPRUNER, "blockpruner", 20, pc.ArgumentError, "no block 26: .* 0 to 19"),
        ('{"1": [["conv", 2]]}', "blockpruner", 4, pc.FormatError, "called .conv."),
        ("{}", "blockpruner", 4, pc.FormatError, "no list"),
        ("3,-1", "prune_layers", 8, pc.ArgumentError, "no block -1"),
        ("3,x", "prune_layers", 8, pc.FormatError, "not in the notation prune_layers"),
        ('{"drop_attn_list": [true, false], "drop_mlp_list": [true]}', "llm_drop", None,
         pc.FormatError, "1 entries, but there are 2"),
        ('{"block_configs": [{"attention": {"replace_with_linear": true}, "ffn": {}}]}',
         "block_configs", None, pc.UnsupportedError, "replaced by a linear layer"),
        ('{"per_layer_config": {"1": {"skip": ["conv"]}}}', "per_layer_config", 3, pc.FormatError,
         "skip of layer 1"),
        (MERGEKIT, "mergekit", 30, pc.ArgumentError, "keeps layer 31, but the model has 30"),
        (MERGEKIT.replace("[29, 32]", "[20, 32]"), "mergekit", 32, pc.UnsupportedError, "repeated"),
        (MERGEKIT.replace("passthrough", "slerp"), "mergekit", 32, pc.UnsupportedError, "slerp"),
        ("slices: 3", "mergekit", 32, pc.FormatError, "no slices"),
        ("slices: [}", "mergekit", 32, pc.FormatError, "not YAML"),
        ("what is this", None, 3, pc.FormatError, "looks like none of: prunecore, evopress"),
        ('{"a": 1}', None, 3, pc.FormatError, "the JSON looks like none of"),
        (EVOPRESS, "evo", None, pc.ArgumentError, "unknown notation 'evo'"),
        (EVOPRESS, None, 0, pc.ArgumentError, "from 1 to 4096"),
    ],
)  # fmt: skip
def test_wrong_notations_are_refused_with_the_fault(
    text: str, notation: str | None, n_blocks: int | None, kind: type[pc.Error], words: str
) -> None:
    with pytest.raises(kind, match=words):
        pc.Mask.read(text, notation, n_blocks)


def test_files_and_models_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(pc.FileError, match="cannot be read"):
        pc.Mask.read(tmp_path / "none.txt")
    with pytest.raises(pc.ArgumentError, match="needs to know the model"):
        pc.Mask.all(3).write("mergekit")
    with pytest.raises(pc.UnsupportedError, match="removes all blocks"):
        pc.Mask.remove(["block.0", "block.1"], 2).write("mergekit", model="m")


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (MERGEKIT + "parameters: {scale: 0.5}\n", pc.UnsupportedError, "parameters"),
        (MERGEKIT + "models: [{model: a}]\n", pc.UnsupportedError, "models"),
        (MERGEKIT + "base_model: other/model\n", pc.UnsupportedError, "these are merged"),
        (MERGEKIT + "dtype: float16\n", pc.FormatError, "said twice"),
        (MERGEKIT.replace("[0, 21]", "[21, 0]"), pc.UnsupportedError, "negative or reversed"),
        (MERGEKIT.replace("[0, 21]", "[-2, 21]"), pc.UnsupportedError, "negative or reversed"),
        (MERGEKIT.replace("[0, 21]", "[0]"), pc.FormatError, "layer_range of slice 0"),
        (MERGEKIT.replace("7b-hf", "7b-hf+lora"), pc.UnsupportedError, "LoRA"),
        ("slices: [3]", pc.FormatError, "slice 0 has no sources"),
        ("slices: [{sources: [{layer_range: [0, 1]}]}]", pc.FormatError, "names no model"),
        ("3,7,3", pc.FormatError, "twice"),
        ('{"drop_attn_list": [1, 1], "drop_mlp_list": []}', pc.FormatError, "twice"),
        ('{"drop_attn_list": [-1]}', pc.ArgumentError, "no block -1"),
        (
            '{"drop_attn_list": [1], "per_layer_config": {"1": {"skip": ["mlp"]}}}',
            pc.UnsupportedError,
            "says per_layer_config, too",
        ),
        ('{"1": [["mha", 2]], "2": [["mha", 3], ["mlp", 3]]}', pc.UnsupportedError, "list 1"),
        (PER_LAYER.replace('["attention"]', "true"), pc.FormatError, "skip of layer 8"),
        (
            PER_LAYER.replace('["attention", "mlp"]', '["mlp"]'),
            pc.UnsupportedError,
            "its own num_key_value_heads",
        ),
        (
            '[{"attention": {}, "ffn": {"ffn_mult": 2}}, '
            '{"attention": {}, "ffn": {"ffn_mult": 1}}]',
            pc.UnsupportedError,
            "ffn_mult of the ffn of block 1",
        ),
        ('[{"attention": {}}]', pc.FormatError, "does not say its ffn"),
        ('{"num_hidden_layers": 1500000000, "drop_attn_list": [1]}', pc.FormatError, "to 4096"),
    ],
)
def test_what_a_mask_cannot_say_is_refused_by_name(
    text: str, kind: type[pc.Error], words: str
) -> None:
    with pytest.raises(kind, match=words):
        pc.Mask.read(text, n_blocks=32)
