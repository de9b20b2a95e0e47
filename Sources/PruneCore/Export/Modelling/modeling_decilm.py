# SPDX-License-Identifier: Apache-2.0
"""A Llama without some of its sublayers, for transformers.

Written by PruneCore; it is not NVIDIA's file of that name. vLLM and mlx have models of their own
for this format, and do not use it.
"""

from __future__ import annotations

from typing import Any

from transformers import LlamaForCausalLM

from .configuration_decilm import DeciLMConfig
from .prunecore_layers import take_out

LLAMA = {
    "version": 2,
    "blocks": "model.layers",
    "attention": {"modules": ["self_attn"], "before": "input_layernorm"},
    "feed_forward": {"modules": ["mlp"], "before": "post_attention_layernorm"},
}


class DeciLMForCausalLM(LlamaForCausalLM):
    config: DeciLMConfig
    config_class = DeciLMConfig

    def __init__(self, config: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(config, *arguments, **named)
        own = {"removed": config.removed, "widths": config.widths}
        take_out(self, config.hidden_size, {**LLAMA, **own})
