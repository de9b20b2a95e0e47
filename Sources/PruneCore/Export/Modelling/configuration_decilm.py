# SPDX-License-Identifier: Apache-2.0
"""The configuration of a Llama without some of its sublayers, as nemotron-nas writes it.

Written by PruneCore; it is not NVIDIA's file of that name. It reads what PruneCore writes: layers
that are whole, or lack attention, feed-forward or both (`no_op`).
"""

from __future__ import annotations

import copy
from typing import Any

from transformers import LlamaConfig

from .prunecore_layers import of_kept_attention


class Fields(dict):
    """A JSON object whose members are attributes, too: runtimes read `block.attention.no_op`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __deepcopy__(self, memo: dict[int, Any]) -> Fields:
        return Fields({key: copy.deepcopy(value, memo) for key, value in self.items()})


class DeciLMConfig(LlamaConfig):
    model_type = "nemotron-nas"

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "block_configs" and value is not None:
            value = [Fields({part: Fields(own) for part, own in block.items()}) for block in value]
        super().__setattr__(name, value)

    @property
    def removed(self) -> list[str]:
        """What does nothing: "attn.3" is the attention of layer 3, "ffn.3" its feed-forward."""
        return [
            f"{name}.{number}"
            for number, block in enumerate(getattr(self, "block_configs", None) or [])
            for name, part in (("attn", block.attention), ("ffn", block.ffn))
            if part.no_op
        ]

    @property
    def widths(self) -> dict[str, int]:
        """Neurons of the feed-forwards whose layer says it, by layer."""
        found = {}
        for number, block in enumerate(getattr(self, "block_configs", None) or []):
            width, factor = block.ffn.get("intermediate_size"), block.ffn.get("ffn_mult")
            if width is None and factor is not None:  # up to the next multiple of 256
                width = -(-int(2 * factor * self.hidden_size / 3) // 256) * 256
            if width is not None and width != self.intermediate_size:
                found[str(number)] = width
        return found

    def get_text_config(self, decoder: Any = None, encoder: Any = None) -> Any:
        """transformers makes caches from the decoder's: it has kept attention layers alone."""
        config = super().get_text_config(decoder=decoder, encoder=encoder)
        if not decoder or not self.removed:
            return config
        view = of_kept_attention(config, self.removed)
        if view is not config:
            view.block_configs = None
        return view
