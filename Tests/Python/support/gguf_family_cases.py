# SPDX-License-Identifier: Apache-2.0
"""Small checkpoints in shapes that llama.cpp treats for themselves, beside those of all families.

Real checkpoints have these shapes; some of those in `family_models` llama.cpp refuses. Some of its
architectures compute otherwise with a certain number of layers.
"""

from __future__ import annotations

from family_case import WINDOW, YARN, Case
from family_dense import EPS
from family_mixtures import GPT_OSS_ROPE

_GPT_OSS = (
    EPS
    | {"num_hidden_layers": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
    | {"intermediate_size": 20, "sliding_window": WINDOW}
)
_NAMED_YARN = {key: value for key, value in GPT_OSS_ROPE.items() if "beta" not in key} | {
    "truncate": True
}
_SMALL = {
    "hidden_size": 16,
    "intermediate_size": 12,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
_GEMMA_LARGE = EPS | _SMALL | {"head_dim": 12, "query_pre_attn_scalar": 8, "sliding_window": WINDOW}

MORE: tuple[Case, ...] = (
    Case("smollm3-usual", "SmolLM3", "smollm3", EPS | {"num_hidden_layers": 5}),
    Case(
        "gpt-oss-plain", "gpt-oss", "gpt_oss",
        _GPT_OSS | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
    ),
    Case("gpt-oss-truncated", "gpt-oss", "gpt_oss", _GPT_OSS | {"rope_parameters": _NAMED_YARN}),
    Case("gpt-oss-limit", "gpt-oss", "gpt_oss", _GPT_OSS | {"swiglu_limit": 5.0}),
    Case("qwen3-yarn", "Qwen3", "qwen3", EPS | {"head_dim": 8, "rope_parameters": YARN}),
    Case("gemma2-46", "Gemma2", "gemma2", _GEMMA_LARGE | {"num_hidden_layers": 46}),
    Case("gemma3-62", "Gemma3", "gemma3_text", _GEMMA_LARGE | {"num_hidden_layers": 62}),
    Case(
        "cohere-64", "Cohere", "cohere",
        _SMALL | {"num_hidden_layers": 64, "use_qk_norm": True, "logit_scale": 0.5},
    ),
    Case(
        "exaone4-64", "EXAONE 4", "exaone4",
        EPS | _SMALL | {"num_hidden_layers": 64, "sliding_window": WINDOW}
        | {"sliding_window_pattern": 4},
    ),
    Case(
        "cohere2-wide-windows", "Cohere2", "cohere2",
        {"num_hidden_layers": 4, "sliding_window": 99, "sliding_window_pattern": 3},
    ),
    Case(
        "cohere2-windows", "Cohere2", "cohere2",
        {"num_hidden_layers": 4, "sliding_window": WINDOW}
        | {"layer_types": ["sliding_attention"] * 4},
    ),
)  # fmt: skip
