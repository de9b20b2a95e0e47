# SPDX-License-Identifier: Apache-2.0
"""Models from which PruneCore took sublayers out: those of transformers, with less in them.

Layers keep their numbers, and so do the tensors of the checkpoint.
"""

from __future__ import annotations

from typing import Any

from transformers import (
    LlamaForCausalLM,
    MistralForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

from .configuration_prunecore import (
    PruneCoreLlamaConfig,
    PruneCoreMistralConfig,
    PruneCoreQwen2Config,
    PruneCoreQwen3Config,
)
from .prunecore_layers import take_out


class Pruned:
    """What the models below have in common."""

    def __init__(self, config: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(config, *arguments, **named)
        adapters = (config.prunecore or {}).get("adapters", {})
        take_out(self.model, config.hidden_size, set(config.removed), adapters)  # type: ignore[attr-defined]


class PruneCoreLlamaForCausalLM(Pruned, LlamaForCausalLM):
    config: PruneCoreLlamaConfig
    config_class = PruneCoreLlamaConfig


class PruneCoreMistralForCausalLM(Pruned, MistralForCausalLM):
    config: PruneCoreMistralConfig
    config_class = PruneCoreMistralConfig


class PruneCoreQwen2ForCausalLM(Pruned, Qwen2ForCausalLM):
    config: PruneCoreQwen2Config
    config_class = PruneCoreQwen2Config


class PruneCoreQwen3ForCausalLM(Pruned, Qwen3ForCausalLM):
    config: PruneCoreQwen3Config
    config_class = PruneCoreQwen3Config
