# SPDX-License-Identifier: Apache-2.0
"""How the blocks of each family put their two sublayers together, by class of transformers.

Written from the `forward` of each class, and not from what the library holds about families: it is
a check on that. `FamilyOracle` computes by it, and test_family_oracle.py compares with the classes'
own `forward`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn import Module

Apply = Callable[[Module, torch.Tensor], torch.Tensor]


def _mlp(layer: Module, x: torch.Tensor) -> torch.Tensor:
    return layer.mlp(x)


def _mlp_with_scores(layer: Module, x: torch.Tensor) -> torch.Tensor:
    return layer.mlp(x)[0]


def _experts(layer: Module, x: torch.Tensor) -> torch.Tensor:
    return layer.block_sparse_moe(x)


def _experts_and_shared(layer: Module, x: torch.Tensor) -> torch.Tensor:
    found = layer.block_sparse_moe(x)
    return found if layer.shared_mlp is None else found + layer.shared_mlp(x)


def _two_matrices(layer: Module, x: torch.Tensor) -> torch.Tensor:
    return layer.fc2(layer.activation_fn(layer.fc1(x)))


def _mlp_onto_nothing(layer: Module, x: torch.Tensor) -> torch.Tensor:
    return layer.mlp(x, torch.zeros_like(x))


def _ffn_onto_nothing(layer: Module, x: torch.Tensor) -> torch.Tensor:
    return layer.ffn(x, torch.zeros_like(x))


@dataclass(frozen=True)
class Plan:
    """One block. Names are those of modules in it; None = there is no such norm.

    `before` are the norms of what attention and feed-forward read, `after` those of what they
    hand out, before it is added, and `of_sum` those of the hidden state after it was added.
    `parallel`: the feed-forward reads the state that the block was given.
    `multiplier` names the factor of what is added. `residual`: the attention is given, under that
    name, what it adds its update to. `renamed`: what the attention calls otherwise than the block.
    `pair`: the block gives the weights of its attention, too.
    """

    attention: str = "self_attn"
    feed_forward: Apply = _mlp
    before: tuple[str | None, str | None] = ("input_layernorm", "post_attention_layernorm")
    after: tuple[str | None, str | None] = (None, None)
    of_sum: tuple[str | None, str | None] = (None, None)
    parallel: bool = False
    multiplier: str | None = None
    residual: bool = False
    renamed: tuple[tuple[str, str], ...] = ()
    pair: bool = False


SERIAL = Plan()
AFTERWARDS = Plan(
    before=(None, None), after=("post_attention_layernorm", "post_feedforward_layernorm")
)
SANDWICH = Plan(
    before=("input_layernorm", "pre_feedforward_layernorm"),
    after=("post_attention_layernorm", "post_feedforward_layernorm"),
)
ONE_NORM = Plan(before=("input_layernorm", "input_layernorm"), parallel=True)
SCALED = Plan(multiplier="residual_multiplier")
GPT = Plan(attention="attn", before=("ln_1", "ln_2"))
GPT_J = replace(GPT, before=("ln_1", "ln_1"), parallel=True)
FALCON = Plan(attention="self_attention", pair=True)

_PLANS: dict[str, Plan] = {
    "Apertus": Plan(before=("attention_layernorm", "feedforward_layernorm")),
    "Bloom": replace(FALCON, feed_forward=_mlp_onto_nothing, residual=True),
    "CodeGen": GPT_J,
    "Cohere": ONE_NORM,
    "Cohere2": ONE_NORM,
    "Exaone4": AFTERWARDS,
    "Falcon": FALCON,
    "GPT2": GPT,
    "GPTBigCode": GPT,
    "GPTJ": GPT_J,
    "GPTNeo": replace(GPT, pair=True),
    "GPTNeoX": Plan(attention="attention"),
    "Gemma2": SANDWICH,
    "Gemma3": SANDWICH,
    "Glm4": Plan(after=("post_self_attn_layernorm", "post_mlp_layernorm")),
    "GptOss": Plan(feed_forward=_mlp_with_scores),
    "Granite": SCALED,
    "GraniteMoe": replace(SCALED, feed_forward=_experts),
    "GraniteMoeShared": replace(SCALED, feed_forward=_experts_and_shared),
    "Mpt": Plan(
        attention="attn",
        feed_forward=_ffn_onto_nothing,
        before=("norm_1", "norm_2"),
        renamed=(("layer_past", "cache"),),
        pair=True,
    ),
    "OPT": Plan(feed_forward=_two_matrices, before=("self_attn_layer_norm", "final_layer_norm")),
    "Olmo2": AFTERWARDS,
    "Olmo3": AFTERWARDS,
    "Phi": ONE_NORM,
    "PostNormLlama": Plan(
        before=(None, None), of_sum=("post_attention_layernorm", "post_feedforward_layernorm")
    ),
    "StableLm": SERIAL,
} | dict.fromkeys(
    "Arcee Ernie4_5 Gemma Glm Helium HunYuanDenseV1 Llama Ministral Ministral3 Mistral Mixtral"
    " Nemotron Olmo Olmoe Phi3 Qwen2 Qwen2Moe Qwen3 Qwen3Moe SeedOss SmolLM3 Starcoder2".split(),
    SERIAL,
)
_ENDS = ("DecoderLayer", "Block", "Layer")


def is_block(module: Module) -> bool:
    """Whether this is a block of a family that there is a plan for."""
    return _family(module) in _PLANS


def plan_of(layer: Module) -> Plan:
    """The plan of a block, with what its configuration makes of it."""
    family = _family(layer)
    plan = _PLANS[family]
    if family in ("StableLm", "GPTNeoX") and layer.use_parallel_residual:
        shared = ("input_layernorm", "input_layernorm")
        return replace(plan, parallel=True, before=shared if family == "StableLm" else plan.before)
    if family == "Falcon":
        config = layer.config
        if config.num_ln_in_parallel_attn == 2:
            return replace(plan, parallel=True, before=("ln_attn", "ln_mlp"))
        if config.parallel_attn or config.new_decoder_architecture:
            return replace(plan, parallel=True, before=ONE_NORM.before)
    if family == "OPT" and not layer.do_layer_norm_before:
        return replace(plan, before=(None, None), of_sum=plan.before)
    return plan


def _family(module: Module) -> str:
    name = type(module).__name__
    end = next((end for end in _ENDS if name.endswith(end)), None)
    return name.removesuffix(end) if end else ""
