# SPDX-License-Identifier: Apache-2.0
"""Small random checkpoints whose sublayers can share weights, and a reference of how they do it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import prunecore as pc
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Phi3Config, Qwen2Config

VOCABULARY = 97
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS = {
    "llama": lambda: LlamaConfig(**SIZES),
    "qwen2": lambda: Qwen2Config(**SIZES),  # biases
    "phi3": lambda: Phi3Config(**SIZES),  # queries, keys and values in one tensor, gates and ups
    "gpt2": lambda: GPT2Config(  # inputs are rows
        n_embd=32, n_inner=48, n_layer=4, n_head=4, vocab_size=VOCABULARY, n_positions=128
    ),
}


def checkpoint(directory: Path, family: str = "llama", dtype: torch.dtype = torch.float32) -> Path:
    """Writes a random model whose blocks resemble each other, and whose norms and biases do not."""
    generator = torch.Generator().manual_seed(3)
    model = AutoModelForCausalLM.from_config(CONFIGS[family]())
    common: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim < 2:
            value = parameter.data + 0.3 * noise
        else:
            kind = ".".join(part for part in name.split(".") if not part.isdigit())
            shared = common.setdefault(kind, torch.randn(parameter.shape, generator=generator))
            value = (shared + 0.5 * noise) / parameter.shape[-1] ** 0.5
        parameter.data = value
    model.to(dtype).save_pretrained(directory)
    return directory


def sequences(count: int = 12, seed: int = 0) -> pc.Data:
    """Random sequences of unequal lengths."""
    random = np.random.default_rng(seed)
    return pc.Data(
        [random.integers(0, VOCABULARY, length) for length in random.integers(9, 60, count)]
    )


def stored(directory: Path) -> dict[str, npt.NDArray[np.float64]]:
    """All tensors of a checkpoint of one file, in double."""
    found = load_file(directory / "model.safetensors")
    return {name: tensor.double().numpy() for name, tensor in found.items()}


def normed(model: pc.Model, data: pc.Data, sublayer: int, gain: npt.NDArray[np.float64]) -> object:
    """What the first projections of a sublayer of a Llama are given, in double: tokens x width."""
    states = model.hidden_states(data, sublayer)
    x = np.asarray(states, dtype=np.float64).reshape(-1, len(gain))
    return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-6) * gain


def best_delta(
    difference: npt.NDArray[np.float64],
    moments: npt.NDArray[np.float64],
    rank: int,
    ridge: float,
) -> npt.NDArray[np.float64]:
    """The closed form as the formula has it: truncate D C^1/2, multiply by C^-1/2."""
    damped = moments + ridge * np.trace(moments) / len(moments) * np.eye(len(moments))
    values, vectors = np.linalg.eigh(damped)
    root = vectors * np.sqrt(values) @ vectors.T
    left, singular, right = np.linalg.svd(difference @ root, full_matrices=False)
    kept = left[:, :rank] * singular[:rank] @ right[:rank]
    return kept @ (vectors / np.sqrt(values) @ vectors.T)
