# SPDX-License-Identifier: Apache-2.0
"""A model from which PruneCore took sublayers out: that of transformers, with less in it.

Blocks keep their numbers, and so do the tensors of the checkpoint.
"""

from __future__ import annotations

from typing import Any

from transformers import LlamaForCausalLM

from .configuration_prunecore import PruneCoreLlamaConfig
from .prunecore_layers import share_names, take_out


class PruneCoreLlamaForCausalLM(LlamaForCausalLM):
    config: PruneCoreLlamaConfig
    config_class = PruneCoreLlamaConfig

    def __init__(self, config: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(config, *arguments, **named)
        if config.prunecore is not None:
            take_out(self, config.get_text_config().hidden_size, config.prunecore)


share_names(LlamaForCausalLM, PruneCoreLlamaForCausalLM)
