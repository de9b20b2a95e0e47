# SPDX-License-Identifier: Apache-2.0
"""Random values for the parameters of small models, each such that it counts.

Attention chooses, experts are told apart, updates are as large as what they are added to, and the
likeliest token is seldom the last one again. Gains and biases are not 1 and 0.
"""

from __future__ import annotations

import torch
from torch.nn import Module, Parameter

_ADD_ONE = ("GemmaRMSNorm", "Gemma2RMSNorm", "Gemma3RMSNorm", "NemotronLayerNorm1P")
_CHOOSE = ("q_proj", "k_proj", "gate", "router", "shared_expert_gate", "layer")
_FUSED = ("qkv_proj", "c_attn", "query_key_value")
_OUTWARD = ("o_proj", "out_proj", "dense", "c_proj", "down_proj", "fc2", "dense_4h_to_h")
_OUTWARD_EXPERTS = ("output_linear", "experts")
_HEADS = ("lm_head", "embed_out")
_SCALED_EMBEDDING = ("gemma", "gemma2", "gemma3_text")


def randomise(model: Module, seed: int = 17) -> None:
    """Gives every parameter a random value that suits its place."""
    generator = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings
    with torch.no_grad():
        for path, module in model.named_modules():
            if tied and path.endswith(_HEADS):
                continue
            for name, parameter in module.named_parameters(recurse=False):
                values = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(_value(model, module, path, name, parameter, values))


def _value(
    model: Module,
    module: Module,
    path: str,
    name: str,
    parameter: Parameter,
    values: torch.Tensor,
) -> torch.Tensor:
    kind = type(module).__name__
    tied = model.config.tie_word_embeddings
    if "Norm" in kind:
        # A head that is the embedding has small rows, and reads a larger state.
        gain = 2.0 if tied and not any(part.isdigit() for part in path.split(".")) else 1.0
        if name == "bias":
            return 0.3 * gain * values
        return gain * (1 + 0.3 * values) - (1 if kind in _ADD_ONE else 0)
    if isinstance(module, torch.nn.Embedding):
        return values * _embedding(model, path, parameter.shape[1])
    if name == "sinks":
        return values
    if kind == "XIELUActivation":
        return 0.4 * values
    if "bias" in name:
        return 0.3 * values
    if path.endswith(_HEADS):
        return values * 3 / parameter.shape[1] ** 0.5
    inputs = parameter.shape[0] if kind == "Conv1D" else parameter.shape[-1]
    return values * _gain(path, name) / inputs**0.5


def _embedding(model: Module, path: str, width: int) -> float:
    """The size of an embedding's values: small where it is the head, too."""
    if "position" in path or path.endswith("wpe"):
        return 0.3
    if not model.config.tie_word_embeddings:
        return 3 / width**0.5
    return 0.1 if model.config.model_type in _SCALED_EMBEDDING else 0.3


def _gain(path: str, name: str) -> float:
    """How far a matrix spreads its input: those that choose, and those that add, spread farther."""
    last = path.rsplit(".", 1)[-1]
    if last in _CHOOSE or last in _OUTWARD or name == "down_proj":
        return 1.5
    if last in _FUSED:
        return 1.2
    return 1.3 if last in _OUTWARD_EXPERTS else 0.9
