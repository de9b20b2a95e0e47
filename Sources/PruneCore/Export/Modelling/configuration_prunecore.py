# SPDX-License-Identifier: Apache-2.0
"""Configurations of models from which PruneCore took sublayers out.

`prunecore` of config.json says what is missing and what stands in its place:

    {"version": 1, "removed": ["attn.3", "ffn.7"],
     "adapters": {"attn.3": {"kind": "low_rank", "rank": 16, "input": "normed", "epsilon": 1e-05}}}
"""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from .prunecore_layers import of_kept_attention


class Pruned:
    """What the configurations below have in common."""

    prunecore: dict[str, Any]

    @property
    def removed(self) -> list[str]:
        """Removed sublayers: "attn.3" is the attention of layer 3, "ffn.3" its feed-forward."""
        return list((getattr(self, "prunecore", None) or {}).get("removed", []))

    def get_text_config(self, decoder: Any = None, encoder: Any = None) -> Any:
        """transformers makes caches from the decoder's: it has kept attention layers alone."""
        config = super().get_text_config(decoder=decoder, encoder=encoder)  # type: ignore[misc]
        if not decoder or not self.removed:
            return config
        view = of_kept_attention(config, self.removed)
        if view is not config:
            view.prunecore = None
        return view


class PruneCoreLlamaConfig(Pruned, LlamaConfig):
    model_type = "prunecore_llama"


class PruneCoreMistralConfig(Pruned, MistralConfig):
    model_type = "prunecore_mistral"


class PruneCoreQwen2Config(Pruned, Qwen2Config):
    model_type = "prunecore_qwen2"


class PruneCoreQwen3Config(Pruned, Qwen3Config):
    model_type = "prunecore_qwen3"
