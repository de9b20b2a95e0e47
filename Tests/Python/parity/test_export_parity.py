# SPDX-License-Identifier: Apache-2.0
"""What is exported computes in transformers what it computed before: logits and greedy text.

Transformers loads the directories as its users do. Its text comes over its cache of keys and
values, which must have no entry for attention that is gone.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
import torch
from safetensors.torch import load_file
from subjects import Subject, Subjects
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

RELATIVE = 2e-4  # of the largest logit
NEW_TOKENS = 40  # with the prompt, beyond every window
PLAIN = (
    "tales-12l",
    "llama-llama3-float32",
    "llama-sharded-bfloat16",
    "llama-early-float32",
    "mistral-window-bfloat16",
    "qwen2-biases-float32",
    "qwen2-window-bfloat16",
    "qwen2-old-window-yarn-float32",
    "qwen3-layer-types-float32",
)
CUSTOM = (
    "tales-12l",
    "llama-llama3-bfloat16",
    "llama-biases-float32",
    "mistral-window-float32",
    "qwen2-window-float32",
    "qwen2-old-window-yarn-float32",
    "qwen3-bfloat16",
    "qwen3-layer-types-float32",
)
DECI = ("llama-llama3-float32", "llama-sharded-bfloat16", "mistral-no-window-float32", "tales-12l")
REMOVED = ("attn.0", "ffn.0", "attn.1", "ffn.2")


def prompts(subject: Subject) -> list[np.ndarray]:
    """Prompts of unequal lengths."""
    longest = max(subject.sequences, key=len)
    return [longest[:9], longest[3:34]]


def load(directory: Path, trusting: bool, dtype: object = torch.float32) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(
        directory, trust_remote_code=trusting, dtype=dtype, attn_implementation="eager"
    ).eval()


def logits(model: PreTrainedModel, sequence: np.ndarray) -> np.ndarray:
    ids = torch.from_numpy(np.asarray(sequence, dtype=np.int64))[None]
    with torch.inference_mode():
        return model(ids, use_cache=False).logits[0].float().numpy()


def write(model: PreTrainedModel, prompt: np.ndarray) -> tuple[list[int], object]:
    """Greedy text over the cache, and the cache."""
    ids = torch.from_numpy(np.asarray(prompt, dtype=np.int64))[None]
    with torch.inference_mode():
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            return_dict_in_generate=True,
        )
    return made.sequences[0, len(prompt) :].tolist(), made.past_key_values


def check(directory: Path, reference: pc.Model, mask: pc.Mask, subject: Subject) -> PreTrainedModel:
    """Logits, text, cache and files of an export; `reference` is the model with its mask set."""
    plain = "auto_map" not in json.loads((directory / "config.json").read_text())
    loaded = load(directory, trusting=not plain)
    sequence = max(subject.sequences, key=len)
    wanted = reference.logits(pc.Data([sequence]))
    assert np.abs(logits(loaded, sequence) - wanted).max() <= RELATIVE * np.abs(wanted).max()
    attention = [name for name in mask.kept if name.startswith("attn")]
    ours = reference.generate(pc.Data(prompts(subject)), NEW_TOKENS, stop_at_eos=False)
    for prompt, tokens in zip(prompts(subject), ours.tokens, strict=True):
        text, cache = write(loaded, prompt)
        assert text == tokens.tolist()
        assert len(cache.layers) == len(attention)
        assert all(layer.keys.numel() > 0 for layer in cache.layers)
    check_files(directory, mask)
    return loaded


def check_files(directory: Path, mask: pc.Mask) -> None:
    """prunecore.json names every file with its checksum, and the mask."""
    document = json.loads((directory / "prunecore.json").read_text())
    assert document["removed"] == mask.removed
    names = {file["name"] for file in document["files"]} | {"prunecore.json"}
    assert names == {path.name for path in directory.iterdir()}
    for file in document["files"]:
        content = (directory / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        assert len(content) == file["bytes"]


@pytest.mark.parametrize("name", PLAIN)
def test_export_of_whole_blocks_computes_the_same(
    subjects: Subjects, name: str, tmp_path: Path
) -> None:
    subject = subjects(name)
    removed = ["block.0", "block.2"] if subject.n_blocks > 3 else ["block.1"]
    mask = pc.Mask.remove(removed, subject.n_blocks)
    out = subject.model.export(tmp_path / "out", mask)
    with subject.model.masked(mask):
        loaded = check(out, subject.model, mask, subject)
        family = json.loads((subject.directory / "config.json").read_text())["architectures"][0]
        assert type(loaded).__name__ == family
        assert loaded.config.num_hidden_layers == subject.n_blocks - len(removed)
        # It is a model like any other, for this library too.
        with pc.open(out) as again:
            data = pc.Data(subject.sequences)
            assert np.array_equal(again.logits(data), subject.model.logits(data))


@pytest.mark.parametrize("name", CUSTOM)
@pytest.mark.parametrize("kind", [None, "bias", "low_rank", "linear"])
def test_export_of_sublayers_and_adapters_computes_the_same(
    subjects: Subjects, name: str, kind: str | None, tmp_path: Path
) -> None:
    subject = subjects(name)
    mask = pc.Mask.remove(REMOVED, subject.n_blocks)
    adapters = None
    if kind is not None:
        adapters = subject.model.recover(
            mask,
            pc.Data(subject.sequences),
            kind=kind,
            rank=3,
            ridge=0.1,
            input="raw" if name.endswith("float32") else "normed",
            block_slot="both",
            held_out=pc.Data(subject.sequences),
        )
        assert adapters.sublayers == list(REMOVED)
    out = subject.model.export(
        tmp_path / "out", None if adapters else mask, adapters, shard_bytes=100_000
    )
    reference = subject.model if adapters is None else adapters.attach(subject.model)
    with subject.model.masked(mask) if adapters is None else reference:
        loaded = check(out, reference, mask, subject)
    # What transformers saves of it loads again, and computes the same.
    loaded.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved", trusting=True)
    assert np.array_equal(logits(again, prompts(subject)[1]), logits(loaded, prompts(subject)[1]))
    if adapters is None:
        expected = {key for key in tensors(subject.directory) if not lost(key)}
        if loaded.config.tie_word_embeddings:
            expected.discard("lm_head.weight")
        assert set(tensors(out)) == expected


def tensors(directory: Path) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for path in directory.glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }


def lost(name: str) -> bool:
    """Whether a tensor belongs to one of REMOVED: the norm before a sublayer is a part of it."""
    places = {"attn": ("self_attn.", "input_layernorm."), "ffn": ("mlp.", "post_attention_lay")}
    return any(
        name.startswith(f"model.layers.{sublayer.split('.')[1]}.{place}")
        for sublayer in REMOVED
        for place in places[sublayer.split(".")[0]]
    )


@pytest.mark.parametrize("name", DECI)
def test_deci_export_is_a_nemotron_nas_model(subjects: Subjects, name: str, tmp_path: Path) -> None:
    subject = subjects(name)
    mask = pc.Mask.remove(["attn.1", "ffn.1", "ffn.0", "attn.2"], subject.n_blocks)
    out = subject.model.export(tmp_path / "out", mask, format="deci")
    with subject.model.masked(mask):
        loaded = check(out, subject.model, mask, subject)
    assert [block.attention.no_op for block in loaded.config.block_configs[:3]] == [0, 1, 1]
    assert [block.ffn.no_op for block in loaded.config.block_configs[:3]] == [1, 1, 0]
    # As vLLM's nemotron_nas.py takes the sizes from it.
    block, config = loaded.config.block_configs[0], loaded.config
    whole = subject.oracle.model.config
    kv_heads = config.num_attention_heads // block.attention.n_heads_in_group
    assert kv_heads == whole.num_key_value_heads
    ffn = loaded.config.block_configs[2].ffn
    if hasattr(ffn, "ffn_mult"):
        width = int(2 * ffn.ffn_mult * config.hidden_size / 3)
        assert -(-width // 256) * 256 == whole.intermediate_size
    else:
        assert ffn.intermediate_size == whole.intermediate_size
    assert not any(".1." in name for name in tensors(out))
    loaded.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved", trusting=True)
    assert np.array_equal(logits(again, prompts(subject)[1]), logits(loaded, prompts(subject)[1]))


@pytest.mark.parametrize("name", ["qwen2-window-float32", "tales-12l"])
def test_export_without_any_attention_loads_and_computes(
    subjects: Subjects, name: str, tmp_path: Path
) -> None:
    subject = subjects(name)
    mask = pc.Mask.remove([f"attn.{block}" for block in range(subject.n_blocks)], subject.n_blocks)
    out = subject.model.export(tmp_path / "out", mask)
    with subject.model.masked(mask):
        check(out, subject.model, mask, subject)


def test_biases_fold_where_the_model_has_biases(subjects: Subjects, tmp_path: Path) -> None:
    subject = subjects("llama-biases-float32")
    mask = pc.Mask.remove("block.1", subject.n_blocks)
    adapters = subject.model.recover(mask, pc.Data(subject.sequences), kind="bias")
    out = subject.model.export(tmp_path / "out", adapters=adapters)
    with adapters.attach(subject.model) as reference:
        loaded = check(out, reference, mask, subject)
    assert type(loaded).__name__ == "LlamaForCausalLM"
    document = json.loads((out / "prunecore.json").read_text())
    assert document["notes"]["folded"] == ["model.layers.0.mlp.down_proj.bias"]
    # Nothing before block 0 has an output bias.
    first = pc.Mask.remove("block.0", subject.n_blocks)
    adapters = subject.model.recover(first, pc.Data(subject.sequences), kind="bias")
    with pytest.raises(pc.UnsupportedError, match="output biases.*hf_custom"):
        subject.model.export(tmp_path / "first", adapters=adapters, format="hf_plain")


def test_cache_of_an_exported_model_shrinks(subjects: Subjects, tmp_path: Path) -> None:
    """By what `Model.cost` says, in the types of the cache."""
    subject = subjects("tales-12l")
    mask = pc.Mask.remove(["attn.0", "attn.5", "attn.11"], 12)
    out = subject.model.export(tmp_path / "out", mask)

    def cache_bytes(directory: Path, trusting: bool) -> int:
        loaded = load(directory, trusting, dtype="auto")
        assert loaded.dtype == torch.bfloat16
        _, cache = write(loaded, prompts(subject)[0])
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)

    whole, pruned = cache_bytes(subject.directory, False), cache_bytes(out, True)
    assert pruned * 12 == whole * 9
    model = subject.model
    assert pruned * model.cost().kv_bytes == whole * model.cost(mask).kv_bytes


def test_exported_model_computes_a_batch_with_padding(subjects: Subjects, tmp_path: Path) -> None:
    """Padded to the left, as transformers generates in batches: each row is as if alone."""
    subject = subjects("qwen2-window-float32")
    mask = pc.Mask.remove(["attn.0", "ffn.3", "attn.3"], subject.n_blocks)
    loaded = load(subject.model.export(tmp_path / "out", mask), trusting=True)
    rows = prompts(subject)
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    seen = torch.zeros_like(ids)
    for row, prompt in enumerate(rows):
        ids[row, width - len(prompt) :] = torch.from_numpy(np.asarray(prompt))
        seen[row, width - len(prompt) :] = 1
    with torch.inference_mode():
        made = loaded.generate(
            ids,
            attention_mask=seen,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    for row, prompt in enumerate(rows):
        assert made[row, width:].tolist() == write(loaded, prompt)[0]


def test_nobody_loads_it_with_random_weights(subjects: Subjects, tmp_path: Path) -> None:
    """Without the modelling file, transformers refuses a checkpoint with gaps."""
    subject = subjects("tales-12l")
    for format in ("hf_custom", "deci"):
        out = subject.model.export(tmp_path / format, pc.Mask.remove("attn.5", 12), format=format)
        with pytest.raises(ValueError, match="trust_remote_code"):
            load(out, trusting=False)
        text = "Once upon a time"
        ours = AutoTokenizer.from_pretrained(subject.directory)(text)["input_ids"]
        assert AutoTokenizer.from_pretrained(out, trust_remote_code=True)(text)["input_ids"] == ours
