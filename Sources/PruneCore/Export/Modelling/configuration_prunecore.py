# SPDX-License-Identifier: Apache-2.0
"""The configuration of a model from which PruneCore took sublayers out.

`prunecore` of config.json says how blocks are made, what is missing and what stands in its place:

    {"version": 2, "blocks": "model.layers", "is_parallel": false, "update_scale": 1.0,
     "attention": {"modules": ["self_attn"], "besides": [], "before": "input_layernorm",
                   "after": null, "last": null},
     "feed_forward": {"modules": ["mlp"], ...}, "removed": ["attn.3", "ffn.7"],
     "adapters": {"attn.3": {"kind": "low_rank", "rank": 16, "input": "normed", "epsilon": 1e-05}}}

The norm of an adapter's input is a root-mean-square norm, unless "norm": "layer" stands beside it.

Version 3 stores some weights as those of earlier blocks and deltas of low rank, "up" @ "down":

     "shared": {"model.layers.5.mlp.up_proj.weight":
                {"base": "model.layers.3.mlp.up_proj.weight", "rank": 16, "scale": 0.5}}

A scale of 1, on the base, is left out. Or it has "widths": {"3": 40}, the neurons of feed-forwards
that have fewer than `intermediate_size`.

Where it applies, there are also: "adds_input": true in a sublayer whose last module takes the
hidden state, too, and gives the sum; "outputs": 1 if a block gives back a tuple with so many others
beside the hidden state; "whole_blocks": true if blocks are not taken apart, so that each is missing
as a whole, and the modules named are those of adapters alone.
"""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig

from .prunecore_layers import of_kept_attention


class PruneCoreLlamaConfig(LlamaConfig):
    model_type = "prunecore_llama"

    prunecore: dict[str, Any] | None = None

    @property
    def removed(self) -> list[str]:
        """Removed sublayers: "attn.3" is the attention of block 3, "ffn.3" its feed-forward."""
        return list((self.prunecore or {}).get("removed", []))

    def get_text_config(self, decoder: Any = None, encoder: Any = None) -> Any:
        """transformers makes caches from the decoder's: it has kept attention alone."""
        config = super().get_text_config(decoder=decoder, encoder=encoder)
        if not decoder or not self.removed:
            return config
        view = of_kept_attention(config, self.removed)
        if view is not config:
            view.prunecore = None
        return view
