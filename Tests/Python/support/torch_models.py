# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of transformers, and what each computes with sublayers left out.

The references are written by hand from what the architectures are, with forward hooks and forwards
of their own: they know nothing of how prunecore.torch takes a layer apart.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
import transformers as tf

VOCABULARY = 97
BLOCKS = 4
WINDOW = 6
_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
_GROUPED = _SHAPE | {"num_key_value_heads": 2}
_WINDOWS = ["sliding_attention", "full_attention"] * 2
_GEMMA = _GROUPED | {"head_dim": 8, "sliding_window": WINDOW, "layer_types": _WINDOWS}
_OPT = {name: size for name, size in _SHAPE.items() if name != "intermediate_size"} | {
    "ffn_dim": 56,
    "word_embed_proj_dim": 32,
}

CONFIGURATIONS: dict[str, Callable[[], Any]] = {
    "llama": lambda: tf.LlamaConfig(**_GROUPED),
    "mistral": lambda: tf.MistralConfig(**_GROUPED, sliding_window=WINDOW),
    "qwen2": lambda: tf.Qwen2Config(
        **_GROUPED, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=2
    ),
    "qwen3": lambda: tf.Qwen3Config(**_GROUPED, head_dim=12, tie_word_embeddings=True),
    "gemma2": lambda: tf.Gemma2Config(**_GEMMA, final_logit_softcapping=2.0),
    "gemma3": lambda: tf.Gemma3TextConfig(**_GEMMA),
    "phi3": lambda: tf.Phi3Config(**_GROUPED),
    "olmo2": lambda: tf.Olmo2Config(**_GROUPED),
    "gpt2": lambda: tf.GPT2Config(**_SHAPE | {"n_inner": 56}),
    "opt": lambda: tf.OPTConfig(**_OPT),
    "opt-norm-last": lambda: tf.OPTConfig(
        **_OPT | {"word_embed_proj_dim": 24, "do_layer_norm_before": False}
    ),
    "gpt_neox": lambda: tf.GPTNeoXConfig(**_SHAPE),
    "gpt_neox-sequential": lambda: tf.GPTNeoXConfig(**_SHAPE, use_parallel_residual=False),
}
# Not in the library's table: latent attention, and differences of two attentions.
OTHERS: dict[str, Callable[[], Any]] = {
    "deepseek": lambda: tf.DeepseekV3Config(
        **_SHAPE,
        num_key_value_heads=4,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_nope_head_dim=8,
        qk_rope_head_dim=4,
        v_head_dim=8,
        n_routed_experts=BLOCKS,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        moe_intermediate_size=24,
    ),
    "diffllama": lambda: tf.DiffLlamaConfig(**_GROUPED),
}
BY_BLOCKS: dict[str, Callable[[], Any]] = {
    "falcon": lambda: tf.FalconConfig(
        **_SHAPE, alibi=True, new_decoder_architecture=False, multi_query=True
    ),
}
"""Known ones that tests wrap as whole blocks."""

ATTENTION = {"gpt2": "attn", "gpt_neox": "attention"}


def tiny(name: str, dtype: torch.dtype = torch.float32, attention: str = "sdpa") -> Any:
    """A model whose every parameter is random, norms and biases too; the same one every time."""
    made = {**CONFIGURATIONS, **OTHERS, **BY_BLOCKS}[name]()
    model = tf.AutoModelForCausalLM.from_config(made, attn_implementation=attention)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.copy_(parameter + 0.3 * values)
            else:
                parameter.copy_(values / parameter.shape[-1] ** 0.5)
    return model.to(dtype).eval()


def layers(model: Any) -> list[Any]:
    """Its decoder layers."""
    if hasattr(model, "transformer"):
        return list(model.transformer.h)
    if hasattr(model, "gpt_neox"):
        return list(model.gpt_neox.layers)
    return list(getattr(model.model, "decoder", model.model).layers)


def sequences(lengths: tuple[int, ...] = (9, 17, 5, 17, 1, 12)) -> list[np.ndarray]:
    """Token ids of unequal lengths."""
    random = np.random.default_rng(1)
    return [random.integers(0, VOCABULARY, length, dtype=np.int64) for length in lengths]


def random_masks(count: int, whole_blocks: bool = False) -> np.ndarray:
    """Keep masks that remove a third; the last removes everything."""
    random = np.random.default_rng(2)
    kept = random.random((count, BLOCKS if whole_blocks else 2 * BLOCKS)) < 0.65
    kept[-1] = False
    return np.repeat(kept, 2, axis=1).astype(np.uint8) if whole_blocks else kept.astype(np.uint8)


@contextmanager
def skipping(model: Any, name: str, keep: Any) -> Any:
    """The model with sublayers left out, by hooks on its modules.

    In most architectures a sublayer adds the output of its last module to the residual stream:
    zeros in its place leave it out. Where the sum is normed besides, that norm stays.
    """

    def nothing(_module: Any, _inputs: Any, output: Any) -> Any:
        zero = torch.zeros_like
        return (zero(output[0]), *output[1:]) if isinstance(output, tuple) else zero(output)

    architecture = name.split("-")[0]
    with ExitStack() as stack:

        def hook(module: Any, function: Any) -> None:
            stack.callback(module.register_forward_hook(function).remove)

        for block, layer in enumerate(layers(model)):
            for place in (0, 1):
                if keep[2 * block + place]:
                    continue
                if architecture in ("gemma2", "gemma3", "olmo2"):
                    hook(
                        layer.post_feedforward_layernorm
                        if place
                        else layer.post_attention_layernorm,
                        nothing,
                    )
                elif architecture == "opt":
                    hook(layer.fc2 if place else layer.self_attn, nothing)
                else:
                    hook(
                        layer.mlp
                        if place
                        else getattr(layer, ATTENTION.get(architecture, "self_attn")),
                        nothing,
                    )
        yield model


@contextmanager
def skipping_blocks(model: Any, keep: Any) -> Any:
    """The model with whole blocks left out: each gives back what it is given."""

    def as_given(_module: Any, inputs: Any, named: Any, output: Any) -> Any:
        hidden = inputs[0] if inputs else named["hidden_states"]
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    with ExitStack() as stack:
        for block, layer in enumerate(layers(model)):
            if not keep[2 * block]:
                hook = layer.register_forward_hook(as_given, with_kwargs=True)
                stack.callback(hook.remove)
        yield model


def own_logits(model: Any, ids: list[np.ndarray]) -> torch.Tensor:
    """What transformers computes, a sequence at a time."""
    with torch.no_grad():
        made = [model(torch.from_numpy(one).unsqueeze(0), use_cache=False).logits[0] for one in ids]
    return torch.cat(made).float()
