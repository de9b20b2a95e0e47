# SPDX-License-Identifier: Apache-2.0
"""Small random checkpoints of every architecture, in the ways real ones are stored.

All parameters are random, the norms and the biases too, and large enough to be missed: a tensor, a
rotary setting or a window that an engine forgets moves the logits far beyond the tolerance, which
test_oracle.py checks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

VOCABULARY = 211
LENGTHS = (1, 37, 150, 2, 97, 64, 5)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 96,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}


@dataclass(frozen=True)
class Variant:
    """A kind of checkpoint: its configuration, and how it is stored."""

    name: str
    config: Callable[[], PreTrainedConfig]
    storage: tuple[str, ...] = ("float32", "bfloat16")
    shard_size: str = "5GB"
    edit: Callable[[dict], None] = field(default=lambda config: None)  # of config.json
    unused: tuple[str, ...] = ()  # tensors in the file that no model needs


def _shape(**more: object) -> dict[str, object]:
    shape: dict[str, object] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 168,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-3,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    return shape | more


def _old_style(config: dict) -> None:
    """Rewrites config.json as transformers 4 wrote it."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None
    if rope["rope_type"] != "default":
        config["rope_scaling"] = {"type": rope.pop("rope_type")} | rope
    config["torch_dtype"] = config.pop("dtype")


def _early(config: dict) -> None:
    """Leaves out what the first Llama configurations did not have yet."""
    for key in ("rope_parameters", "head_dim", "num_key_value_heads", "attention_bias"):
        config.pop(key)
    for key in ("mlp_bias", "tie_word_embeddings"):
        config.pop(key)


def _window_switched_off(config: dict) -> None:
    config |= {"use_sliding_window": False, "sliding_window": 16, "max_window_layers": 0}
    config.pop("layer_types")


def _no_layer_types(config: dict) -> None:
    config.pop("layer_types")
    _old_style(config)


VARIANTS = (
    Variant(
        "llama-llama3",
        lambda: LlamaConfig(**_shape(rope_parameters=dict(LLAMA3))),
        storage=("float32", "bfloat16", "float16"),
    ),
    Variant(
        "llama-biases",
        lambda: LlamaConfig(**_shape(attention_bias=True, mlp_bias=True, num_hidden_layers=3)),
    ),
    Variant(
        "llama-linear",
        lambda: LlamaConfig(**_shape(rope_parameters=dict(LINEAR), head_dim=12)),
    ),
    Variant(
        "llama-yarn",
        lambda: LlamaConfig(**_shape(rope_parameters=dict(YARN), hidden_size=96, head_dim=32)),
    ),
    Variant(
        "llama-yarn-tuned",
        lambda: LlamaConfig(
            **_shape(
                rope_parameters=YARN
                | {"mscale": 1.0, "mscale_all_dim": 0.5, "beta_fast": 16, "beta_slow": 2}
                | {"truncate": False}
            )
        ),
        storage=("float32",),
    ),
    Variant(
        "llama-old-llama3",
        lambda: LlamaConfig(**_shape(rope_parameters=dict(LLAMA3))),
        storage=("bfloat16",),
        edit=_old_style,
    ),
    Variant(
        "llama-old-linear",
        lambda: LlamaConfig(**_shape(rope_parameters=dict(LINEAR), tie_word_embeddings=True)),
        storage=("float32",),
        edit=_old_style,
    ),
    Variant(
        "llama-early",
        lambda: LlamaConfig(**_shape(num_key_value_heads=8, max_position_embeddings=128)),
        storage=("float32",),
        edit=_early,
        unused=("model.layers.0.self_attn.rotary_emb.inv_freq",),
    ),
    Variant(
        "llama-sharded",
        lambda: LlamaConfig(**_shape()),
        storage=("bfloat16",),
        shard_size="60KB",
    ),
    Variant(
        "mistral-window",
        lambda: MistralConfig(**_shape(head_dim=24, num_attention_heads=4, sliding_window=24)),
    ),
    Variant(
        "mistral-no-window",
        lambda: MistralConfig(**_shape(sliding_window=None, num_hidden_layers=3)),
        storage=("float32",),
        edit=_old_style,
    ),
    Variant(
        "qwen2-biases",
        lambda: Qwen2Config(**_shape(tie_word_embeddings=True)),
        edit=_window_switched_off,
    ),
    Variant(
        "qwen2-window",
        lambda: Qwen2Config(
            **_shape(use_sliding_window=True, sliding_window=31, max_window_layers=2)
        ),
    ),
    Variant(
        "qwen2-old-window-yarn",
        lambda: Qwen2Config(
            **_shape(use_sliding_window=True, sliding_window=16, max_window_layers=1)
            | {"rope_parameters": dict(YARN)}
        ),
        storage=("float32",),
        edit=_no_layer_types,
    ),
    Variant("qwen3", lambda: Qwen3Config(**_shape(head_dim=24, num_attention_heads=4))),
    Variant(
        "qwen3-layer-types",
        lambda: Qwen3Config(
            **_shape(head_dim=16, attention_bias=True, tie_word_embeddings=True)
            | {"use_sliding_window": True, "sliding_window": 20}
            | {"layer_types": ["sliding_attention", "full_attention"] * 2}
        ),
    ),
)
CHECKPOINTS = {
    f"{variant.name}-{storage}": (variant, storage)
    for variant in VARIANTS
    for storage in variant.storage
}


def write_checkpoint(name: str, directory: Path) -> None:
    """Writes the checkpoint of that name; the same one every time."""
    variant, storage = CHECKPOINTS[name]
    model = AutoModelForCausalLM.from_config(variant.config())
    randomise(model)
    model.to(getattr(torch, storage)).save_pretrained(directory, max_shard_size=variant.shard_size)
    if variant.unused:
        path = directory / "model.safetensors"
        tensors = load_file(path) | {name: torch.ones(4) for name in variant.unused}
        save_file(tensors, path, metadata={"format": "pt"})
    path = directory / "config.json"
    config = json.loads(path.read_text())
    variant.edit(config)
    path.write_text(json.dumps(config, indent=2))


def randomise(model: torch.nn.Module, seed: int = 5) -> None:
    """Gives every parameter a random value: states near 1, attention that chooses, wide logits."""
    generator = torch.Generator().manual_seed(seed)
    width = model.config.hidden_size
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.3 * values)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * values)
            elif "embed_tokens" in name or "lm_head" in name:
                parameter.copy_(3 / width**0.5 * values)
            else:
                gain = 1.5 if "q_proj" in name or "k_proj" in name else 0.6
                parameter.copy_(gain / parameter.shape[1] ** 0.5 * values)


def random_sequences(vocabulary: int, lengths: tuple[int, ...] = LENGTHS) -> list[np.ndarray]:
    """Token ids of unequal lengths, the first and the last id of the vocabulary among them."""
    random = np.random.default_rng(11)
    sequences = [random.integers(0, vocabulary, length, dtype=np.int64) for length in lengths]
    longest = max(sequences, key=len)
    longest[:2] = 0, vocabulary - 1
    return sequences


def masks(n_blocks: int) -> dict[str, np.ndarray]:
    """Keep masks worth a look: none, all and half removed, and some at random."""
    random = np.random.default_rng(7)
    keep = {
        "all-removed": np.zeros(2 * n_blocks, dtype=np.uint8),
        "only-attention": np.tile([1, 0], n_blocks).astype(np.uint8),
        "only-feed-forward": np.tile([0, 1], n_blocks).astype(np.uint8),
    }
    for number in range(3):
        keep[f"random-{number}"] = (random.random(2 * n_blocks) < 0.65).astype(np.uint8)
    return keep
