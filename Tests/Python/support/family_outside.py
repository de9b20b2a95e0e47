# SPDX-License-Identifier: Apache-2.0
"""Small checkpoints of families that `open` does not compute, and `prunecore.torch.wrap` does."""

from __future__ import annotations

from typing import Any

from family_case import DROPPED, TRAINED_CONTEXT, WINDOW, YARN, Case
from family_dense import EPS, FOUR, WIDE_HEADS


def _without(*names: str) -> dict[str, object]:
    return dict.fromkeys(names, DROPPED)


def _falcon(name: str, **fields: object) -> Case:
    shape = _without("intermediate_size", "num_key_value_heads") | {"ffn_hidden_size": 52}
    return Case(name, "Falcon", "falcon", shape | {"layer_norm_epsilon": 1e-3} | fields)


GPT_J = _without("intermediate_size", "num_key_value_heads") | {
    "n_inner": 52,
    "rotary_dim": 4,
    "layer_norm_epsilon": 1e-3,
    "tie_word_embeddings": False,
}
BLOOM = _without("intermediate_size", "num_key_value_heads", "max_position_embeddings")
BIG_CODE = _without("intermediate_size", "num_key_value_heads") | {"n_inner": 52}
NEO: dict[str, Any] = _without("num_attention_heads", "num_key_value_heads") | {
    "num_layers": 4,
    "num_hidden_layers": DROPPED,
    "num_heads": 4,
    "window_size": WINDOW,
    "attention_types": [[["global", "local"], 2]],
}
MPT = _without(
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
) | {"d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 64}
LLAMA4_YARN = YARN | {
    "llama_4_scaling_beta": 0.1,
    "original_max_position_embeddings": TRAINED_CONTEXT,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}

OUTSIDE = (
    _falcon("falcon", new_decoder_architecture=True, num_kv_heads=2),
    _falcon(
        "falcon-one-norm",
        new_decoder_architecture=True,
        num_kv_heads=2,
        num_ln_in_parallel_attn=1,
        bias=True,
    ),
    _falcon("falcon-multi-query", tie_word_embeddings=False),
    _falcon("falcon-sequential", parallel_attn=False, multi_query=False, alibi=True, bias=True),
    Case("bloom", "Bloom", "bloom", BLOOM | {"layer_norm_epsilon": 1e-3}),
    Case("gpt-j", "GPT-J", "gptj", GPT_J),
    Case("codegen", "CodeGen", "codegen", GPT_J),
    Case("gpt-bigcode", "GPT-BigCode", "gpt_bigcode", BIG_CODE),
    Case("gpt-neo", "GPT-Neo", "gpt_neo", NEO),
    Case("mpt", "MPT", "mpt", MPT),
    Case(
        "ministral",
        "Ministral",
        "ministral",
        EPS | WIDE_HEADS | FOUR | {"sliding_window": WINDOW},
    ),
    Case(
        "ministral3",
        "Ministral 3",
        "ministral3",
        EPS | WIDE_HEADS | {"rope_parameters": LLAMA4_YARN},
    ),
)
