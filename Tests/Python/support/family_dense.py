# SPDX-License-Identifier: Apache-2.0
"""Small checkpoints of the families with rotary positions whose feed-forward is one network.

What a family's real checkpoints differ in is here in every setting that changes what is computed.
Windows and stretched contexts are shorter than the sequences of the tests.
"""

from __future__ import annotations

from typing import Any

from family_case import (
    DYNAMIC,
    LINEAR,
    LLAMA3,
    PROPORTIONAL,
    TRAINED_CONTEXT,
    WINDOW,
    YARN,
    Case,
    longrope,
)

FOUR = {"num_hidden_layers": 4}
WIDE_HEADS = {"head_dim": 12}  # more columns together than the hidden state has
EPS = {"rms_norm_eps": 1e-3}  # large enough to be missed


def _llama(name: str, **fields: object) -> Case:
    return Case(name, "Llama", "llama", EPS | fields)


LLAMAS = (
    _llama("llama", **WIDE_HEADS),
    _llama("llama-biases", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    _llama("llama-linear", rope_parameters=LINEAR),
    _llama("llama-dynamic", rope_parameters=DYNAMIC, max_position_embeddings=TRAINED_CONTEXT),
    _llama("llama-yarn", rope_parameters=YARN),
    _llama("llama-longrope", rope_parameters=longrope(4)),
    _llama("llama-llama3", rope_parameters=LLAMA3),
    _llama("llama-proportional", rope_parameters=PROPORTIONAL),
    Case("mistral", "Mistral", "mistral", EPS | WIDE_HEADS | {"sliding_window": WINDOW}),
    Case(
        "qwen2",
        "Qwen2",
        "qwen2",
        EPS | {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2} | FOUR,
    ),
    Case("qwen3", "Qwen3", "qwen3", EPS | WIDE_HEADS),
)


def _gelu(config: dict[str, Any]) -> None:
    """The first configurations of Gemma say gelu, and mean its approximation."""
    config["hidden_act"] = "gelu"


def _old_gemma3(config: dict[str, Any]) -> None:
    """As transformers 4 wrote it."""
    rope = config.pop("rope_parameters")
    full, sliding = rope["full_attention"], rope["sliding_attention"]
    config["rope_theta"] = full.pop("rope_theta")
    config["rope_local_base_freq"] = sliding["rope_theta"]
    config["rope_scaling"] = full
    config["sliding_window_pattern"] = 3
    config.pop("layer_types")


GEMMA3 = (
    EPS
    | WIDE_HEADS
    | FOUR
    | {
        "sliding_window": WINDOW,
        "sliding_window_pattern": 3,
        "query_pre_attn_scalar": 20,
        "rope_parameters": {
            "full_attention": LINEAR | {"rope_theta": 100000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
        },
    }
)
GEMMAS = (
    Case("gemma", "Gemma", "gemma", EPS | WIDE_HEADS),
    Case("gemma-gelu", "Gemma", "gemma", EPS | {"num_key_value_heads": 1}, _gelu),
    Case(
        "gemma2",
        "Gemma2",
        "gemma2",
        EPS
        | WIDE_HEADS
        | FOUR
        | {
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 20,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 4.0,
        },
    ),
    Case("gemma3", "Gemma3", "gemma3_text", GEMMA3),
    Case("gemma3-old", "Gemma3", "gemma3_text", GEMMA3, _old_gemma3),
)


def _old_rope(config: dict[str, Any]) -> None:
    """As transformers 4 wrote rotary settings."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    config["rope_scaling"] = None
    if (kind := rope.pop("rope_type")) != "default":
        if "original_max_position_embeddings" in config:
            rope.pop("original_max_position_embeddings")
        config["rope_scaling"] = rope | {"type": kind}


PHI3_LONG = {"original_max_position_embeddings": TRAINED_CONTEXT} | EPS
PHI3_PARTIAL = PHI3_LONG | {
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rope_parameters": longrope(6, partial_rotary_factor=0.75),
    "tie_word_embeddings": True,
}
PHIS = (
    Case("phi3", "Phi3", "phi3", EPS),
    Case("phi3-window", "Phi3", "phi3", EPS | {"sliding_window": WINDOW}, _old_rope),
    Case("phi3-longrope", "Phi3", "phi3", PHI3_LONG | {"rope_parameters": longrope(4)}),
    Case("phi3-partial", "Phi3", "phi3", PHI3_PARTIAL),
    Case("phi3-partial-old", "Phi3", "phi3", PHI3_PARTIAL, _old_rope),
    Case("phi", "Phi", "phi", {"layer_norm_eps": 1e-3}),
    Case("phi-qk-norm", "Phi", "phi", {"layer_norm_eps": 1e-3, "qk_layernorm": True}, _old_rope),
)

OLMO3_ROPE = {
    "full_attention": YARN | {"rope_theta": 500000.0, "attention_factor": 1.2},
    "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
}


def _old_olmo3(config: dict[str, Any]) -> None:
    """As the published checkpoints have it: the scaling is that of the layers without a window."""
    full = config.pop("rope_parameters")["full_attention"]
    config["rope_theta"] = full.pop("rope_theta")
    config["rope_scaling"] = full


OLMO3 = EPS | FOUR | {"sliding_window": WINDOW, "rope_parameters": OLMO3_ROPE}
OLMOS = (
    Case("olmo", "OLMo", "olmo"),
    Case("olmo-clip", "OLMo", "olmo", {"clip_qkv": 0.8}, _old_rope),
    Case("olmo2", "OLMo2", "olmo2", EPS),
    Case("olmo3", "OLMo3", "olmo3", OLMO3),
    Case("olmo3-old", "OLMo3", "olmo3", OLMO3, _old_olmo3),
)


def _old_stablelm(config: dict[str, Any]) -> None:
    _old_rope(config)
    config["rotary_scaling_factor"] = 1.0


def _stablelm(name: str, edit: Any = None, **fields: object) -> Case:
    return Case(name, "StableLM", "stablelm", {"layer_norm_eps": 1e-3} | fields, edit)


STABLELMS = (
    _stablelm("stablelm", num_attention_heads=2, num_key_value_heads=2),
    _stablelm("stablelm-qk-norm", qk_layernorm=True, partial_rotary_factor=0.5),
    _stablelm("stablelm-parallel", use_parallel_residual=True, partial_rotary_factor=0.5),
    _stablelm("stablelm-qkv-bias", _old_stablelm, use_qkv_bias=True),
    _stablelm(
        "stablelm-parallel-qk-norm",
        use_parallel_residual=True,
        qk_layernorm=True,
        partial_rotary_factor=0.25,
    ),
)


def _old_cohere2(config: dict[str, Any]) -> None:
    """As the published checkpoints have it."""
    config.pop("layer_types")
    config["sliding_window_pattern"] = 3
    _old_rope(config)


COHERE2 = FOUR | {"sliding_window": WINDOW, "sliding_window_pattern": 3, "logit_scale": 0.5}
COHERES = (
    Case("cohere", "Cohere", "cohere", {"logit_scale": 0.5, "layer_norm_eps": 1e-3}),
    Case(
        "cohere-qk-norm", "Cohere", "cohere", {"logit_scale": 0.7, "use_qk_norm": True}, _old_rope
    ),
    Case("cohere-biases", "Cohere", "cohere", {"logit_scale": 0.6, "attention_bias": True}),
    Case("cohere2", "Cohere2", "cohere2", COHERE2),
    Case("cohere2-old", "Cohere2", "cohere2", COHERE2, _old_cohere2),
)

GRANITE = {
    "embedding_multiplier": 1.6,
    "attention_multiplier": 0.3,
    "residual_multiplier": 0.6,
    "logits_scaling": 1.7,
}
SMOLLM3 = EPS | FOUR | {"no_rope_layer_interval": 3}
EXAONE4 = EPS | FOUR
OTHERS = (
    Case("smollm3", "SmolLM3", "smollm3", SMOLLM3),
    Case(
        "smollm3-window",
        "SmolLM3",
        "smollm3",
        SMOLLM3 | {"use_sliding_window": True, "sliding_window": WINDOW, "attention_bias": True},
    ),
    Case("granite", "Granite", "granite", EPS | GRANITE),
    Case(
        "granite-biases",
        "Granite",
        "granite",
        EPS | GRANITE | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    ),
    Case("starcoder2", "StarCoder2", "starcoder2", {"norm_epsilon": 1e-3}),
    Case("starcoder2-window", "StarCoder2", "starcoder2", {"sliding_window": WINDOW}),
    Case("glm", "GLM", "glm", EPS | WIDE_HEADS | {"eos_token_id": 2}),
    Case("glm-filled", "GLM", "glm", EPS | {"head_dim": 8, "eos_token_id": 2}),
    Case("glm4", "GLM-4", "glm4", EPS | WIDE_HEADS | {"eos_token_id": 2}),
    Case("nemotron", "Nemotron", "nemotron", {"norm_eps": 1e-3} | WIDE_HEADS),
    Case(
        "nemotron-filled",
        "Nemotron",
        "nemotron",
        {"norm_eps": 1e-3, "mlp_bias": True, "attention_bias": True},
    ),
    Case("arcee", "Arcee", "arcee", EPS | WIDE_HEADS | {"rope_parameters": YARN}),
    Case("ernie4_5", "ERNIE 4.5", "ernie4_5", EPS | WIDE_HEADS),
    Case("ernie4_5-biases", "ERNIE 4.5", "ernie4_5", EPS | {"use_bias": True, "head_dim": 8}),
    Case(
        "exaone4",
        "EXAONE 4",
        "exaone4",
        EXAONE4 | {"sliding_window": WINDOW, "sliding_window_pattern": 3},
    ),
    Case(
        "exaone4-no-window",
        "EXAONE 4",
        "exaone4",
        EXAONE4 | {"sliding_window": None, "layer_types": ["full_attention"] * 4},
    ),
    Case("seed-oss", "Seed-OSS", "seed_oss", EPS | WIDE_HEADS),
    Case("hunyuan", "Hunyuan dense", "hunyuan_v1_dense", EPS | WIDE_HEADS),
    Case(
        "hunyuan-alpha",
        "Hunyuan dense",
        "hunyuan_v1_dense",
        EPS | {"head_dim": 8, "rope_parameters": DYNAMIC | {"alpha": 50.0}, "attention_bias": True},
    ),
    Case("helium", "Helium", "helium", EPS | {"head_dim": 8}),
    Case("apertus", "Apertus", "apertus", EPS | {"rope_parameters": LLAMA3}),
)
DENSE = (*LLAMAS, *GEMMAS, *PHIS, *OLMOS, *STABLELMS, *COHERES, *OTHERS)
