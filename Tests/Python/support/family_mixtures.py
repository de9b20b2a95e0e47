# SPDX-License-Identifier: Apache-2.0
"""Small checkpoints of every family whose feed-forward is a mixture of experts."""

from __future__ import annotations

from family_case import WINDOW, YARN, Case
from family_dense import EPS, FOUR, GRANITE, WIDE_HEADS

QWEN2_MOE = (
    EPS
    | FOUR
    | {
        "num_experts": 5,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 20,
        "shared_expert_intermediate_size": 28,
    }
)
QWEN3_MOE = (
    EPS | WIDE_HEADS | {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20}
)
OLMOE = EPS | {"num_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 20}
GRANITE_MOE = (
    EPS | GRANITE | {"num_local_experts": 5, "num_experts_per_tok": 2, "intermediate_size": 20}
)
GPT_OSS_ROPE = YARN | {"rope_theta": 1000.0, "truncate": False, "beta_fast": 1.0, "beta_slow": 0.05}

MIXTURES = (
    Case(
        "mixtral",
        "Mixtral",
        "mixtral",
        EPS | WIDE_HEADS | {"num_local_experts": 4, "intermediate_size": 20},
    ),
    Case(
        "mixtral-window",
        "Mixtral",
        "mixtral",
        EPS | {"num_local_experts": 5, "intermediate_size": 20, "sliding_window": WINDOW},
    ),
    Case("qwen2-moe", "Qwen2-MoE", "qwen2_moe", QWEN2_MOE),
    Case(
        "qwen2-moe-dense-layers",
        "Qwen2-MoE",
        "qwen2_moe",
        QWEN2_MOE | {"decoder_sparse_step": 2, "norm_topk_prob": True},
    ),
    Case(
        "qwen2-moe-window",
        "Qwen2-MoE",
        "qwen2_moe",
        QWEN2_MOE
        | {"mlp_only_layers": [1], "qkv_bias": False}
        | {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 3},
    ),
    Case("qwen3-moe", "Qwen3-MoE", "qwen3_moe", QWEN3_MOE | {"norm_topk_prob": True}),
    Case(
        "qwen3-moe-dense-layers",
        "Qwen3-MoE",
        "qwen3_moe",
        QWEN3_MOE | {"mlp_only_layers": [0], "attention_bias": True},
    ),
    Case("olmoe", "OLMoE", "olmoe", OLMOE),
    Case("olmoe-equal-heads", "OLMoE", "olmoe", OLMOE | {"num_key_value_heads": 4}),
    Case("olmoe-clip", "OLMoE", "olmoe", OLMOE | {"clip_qkv": 0.8, "norm_topk_prob": True}),
    Case(
        "gpt-oss",
        "gpt-oss",
        "gpt_oss",
        EPS
        | WIDE_HEADS
        | FOUR
        | {
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size": 20,
            "sliding_window": WINDOW,
            "rope_parameters": GPT_OSS_ROPE,
        },
    ),
    Case("granitemoe", "GraniteMoE", "granitemoe", GRANITE_MOE),
    Case(
        "granitemoe-shared",
        "GraniteMoE shared",
        "granitemoeshared",
        GRANITE_MOE | {"shared_intermediate_size": 28, "tie_word_embeddings": True},
    ),
    Case("granitemoe-shared-none", "GraniteMoE shared", "granitemoeshared", GRANITE_MOE),
)
