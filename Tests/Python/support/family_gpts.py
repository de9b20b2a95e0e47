# SPDX-License-Identifier: Apache-2.0
"""Small checkpoints of the families that came before Llama: GPT-2, GPT-NeoX and OPT."""

from __future__ import annotations

from typing import Any

import torch
from family_case import DROPPED, Case

GPT2 = {
    "hidden_size": DROPPED,
    "intermediate_size": DROPPED,
    "num_hidden_layers": DROPPED,
    "num_attention_heads": DROPPED,
    "num_key_value_heads": DROPPED,
    "max_position_embeddings": DROPPED,
    "n_positions": 64,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "layer_norm_epsilon": 1e-3,
}


def _old_neox(config: dict[str, Any]) -> None:
    """As transformers 4 wrote it, and before it knew of attention without biases."""
    rope = config.pop("rope_parameters")
    config["rotary_emb_base"] = rope["rope_theta"]
    config["rotary_pct"] = rope["partial_rotary_factor"]
    config.pop("attention_bias")


def _causal() -> torch.Tensor:
    """Which token sees which: stored with every layer, once."""
    return torch.ones(64, 64).tril()[None, None].clone()


def _first_gpt2(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As OpenAI's checkpoints are: names without a prefix, and masks."""
    packed = {name.removeprefix("transformer."): values for name, values in tensors.items()}
    return packed | {f"h.{block}.attn.bias": _causal() for block in range(3)}


def _pythia(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As the checkpoints of Pythia are: with masks and frequencies, which nobody needs."""
    packed = dict(tensors)
    for block in range(3):
        place = f"gpt_neox.layers.{block}.attention"
        packed[f"{place}.bias"] = _causal().bool()
        packed[f"{place}.masked_bias"] = torch.tensor(-1e9)
        packed[f"{place}.rotary_emb.inv_freq"] = torch.ones(1)
    return packed


def _neox(name: str, edit: Any = None, pack: Any = None, **fields: object) -> Case:
    shape = {"num_key_value_heads": DROPPED, "layer_norm_eps": 1e-3, "rotary_pct": 0.5}
    return Case(name, "GPT-NeoX", "gpt_neox", shape | fields, edit, pack)


OPT = {"intermediate_size": DROPPED, "num_key_value_heads": DROPPED, "ffn_dim": 52}
GPTS = (
    Case("gpt2", "GPT-2", "gpt2", GPT2),
    Case("gpt2-old", "GPT-2", "gpt2", GPT2, pack=_first_gpt2),
    Case(
        "gpt2-inverse-layers",
        "GPT-2",
        "gpt2",
        GPT2 | {"scale_attn_by_inverse_layer_idx": True, "n_inner": 52},
    ),
    _neox("neox"),
    _neox("neox-old", _old_neox, _pythia, rotary_pct=0.25),
    _neox("neox-sequential", use_parallel_residual=False),
    _neox("neox-no-biases", attention_bias=False, tie_word_embeddings=True),
    Case("opt", "OPT", "opt", OPT),
    Case(
        "opt-post-norm",
        "OPT",
        "opt",
        OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 20},
    ),
    Case(
        "opt-plain-norm",
        "OPT",
        "opt",
        OPT
        | {"enable_bias": False, "layer_norm_elementwise_affine": False}
        | {"activation_function": "gelu"},
    ),
)
