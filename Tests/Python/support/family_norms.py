# SPDX-License-Identifier: Apache-2.0
"""Llamas of two papers, whose norms transformers has no class for: `norm_type` in config.json.

- "lns": LayerNorm Scaling (arXiv 2502.05795). The output of the norms of block l, from 1, is
  multiplied by 1 / sqrt(l).
- "pre_post": Mix-LN (arXiv 2412.13795). In the first `post_num` blocks a norm follows each sum,
  h = norm(h + f(h)), and none comes before.

The modules are those of transformers' Llama; what differs is in the classes here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from family_case import Case
from safetensors.torch import load_file
from torch.nn import Module
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm

_EPSILON = {"rms_norm_eps": 1e-3}
NORMS = (
    Case("llama-lns", "LayerNorm Scaling", "llama", _EPSILON | {"norm_type": "lns"}),
    Case(
        "llama-mix-ln",
        "Mix-LN",
        "llama",
        _EPSILON | {"norm_type": "pre_post", "post_num": 1, "num_hidden_layers": 4},
    ),
)
"""Each a family of its own, since transformers runs neither by itself."""


class ScaledRMSNorm(LlamaRMSNorm):
    """A norm whose output is multiplied by a factor."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden_states) * self.factor


class PostNormLlamaDecoderLayer(LlamaDecoderLayer):
    """A block with a norm after each of its sums."""

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        attention, _ = self.self_attn(hidden_states=hidden_states, **kwargs)
        middle = self.post_attention_layernorm(hidden_states + attention)
        return self.post_feedforward_layernorm(middle + self.mlp(middle))


def give_norms(model: Module) -> None:
    """Makes of a Llama what its configuration's `norm_type` says; of other models nothing."""
    config = model.config
    norm_type = getattr(config, "norm_type", None)
    if norm_type == "lns":
        for number, layer in enumerate(model.model.layers, 1):
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.__class__ = ScaledRMSNorm
                norm.factor = number**-0.5
    elif norm_type == "pre_post":
        for layer in model.model.layers[: config.post_num]:
            layer.__class__ = PostNormLlamaDecoderLayer
            layer.post_feedforward_layernorm = LlamaRMSNorm(config.hidden_size, config.rms_norm_eps)
            del layer.input_layernorm


def load_family(directory: Path, trusting: bool = False) -> Module:
    """A checkpoint in fp32, with the norms that its configuration declares."""
    options = {"trust_remote_code": trusting}
    config = AutoConfig.from_pretrained(directory, **options)
    kind = {"dtype": torch.float32, "attn_implementation": "eager"}
    # MPT has a key of that name, too.
    if config.model_type != "llama" or getattr(config, "norm_type", None) is None:
        return AutoModelForCausalLM.from_pretrained(directory, **kind, **options).eval()
    model = AutoModelForCausalLM.from_config(config, **kind)
    give_norms(model)
    model.load_state_dict(load_file(directory / "model.safetensors"))
    return model.eval()
