# SPDX-License-Identifier: Apache-2.0
"""What stands in the places of sublayers that were pruned: nothing, or an adapter.

Written by PruneCore beside the checkpoint that it belongs to.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn


class Adapter(nn.Module):
    """Emulates the update of a removed feed-forward layer: bias + matrix @ x.

    x is norm(h), or h itself where there is no norm; a matrix of low rank is up @ down.

    Parameters
    ----------
    hidden_size : int
    form : mapping
        kind "bias", "low_rank" or "linear"; rank; epsilon of the norm, None = no norm.
    """

    def __init__(self, hidden_size: int, form: Mapping[str, Any]) -> None:
        super().__init__()
        kind, epsilon = form["kind"], form.get("epsilon")
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.norm = None if epsilon is None else nn.RMSNorm(hidden_size, eps=epsilon)
        if kind == "low_rank":
            self.down = nn.Linear(hidden_size, form["rank"], bias=False)
            self.up = nn.Linear(form["rank"], hidden_size, bias=False)
        elif kind == "linear":
            self.linear = nn.Linear(hidden_size, hidden_size, bias=False)
        elif kind != "bias":
            raise ValueError(f"{kind!r} is not a kind of adapter; this modelling file is too old")
        self.kind = kind

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        x = hidden_states if self.norm is None else self.norm(hidden_states)
        if self.kind == "low_rank":
            return self.up(self.down(x)) + self.bias
        if self.kind == "linear":
            return self.linear(x) + self.bias
        return self.bias.expand_as(hidden_states)


class Nothing(nn.Module):
    """The update of a removed feed-forward layer without an adapter: zero."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states.new_zeros(())


class AttentionAdapter(Adapter):
    """The same in the place of an attention layer. It has no keys, no values, and no weights."""

    def forward(self, hidden_states: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
        return super().forward(hidden_states), None


class NoAttention(Nothing):
    """The update of a removed attention layer without an adapter."""

    def forward(self, hidden_states: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
        return super().forward(hidden_states), None


def take_out(
    decoder: nn.Module,
    hidden_size: int,
    removed: Collection[str],
    adapters: Mapping[str, Mapping[str, Any]],
) -> None:
    """Replaces the sublayers `removed` of a decoder of transformers, such as "attn.3".

    The norm before a removed sublayer goes, too. Kept attention layers count anew for the cache of
    keys and values, which so has no entry for the removed ones.
    """
    entries = 0
    for number, layer in enumerate(decoder.layers):
        attention, feed_forward = f"attn.{number}", f"ffn.{number}"
        if attention in removed:
            form = adapters.get(attention)
            layer.self_attn = AttentionAdapter(hidden_size, form) if form else NoAttention()
            layer.input_layernorm = nn.Identity()
        else:
            layer.self_attn.layer_idx = entries
            entries += 1
        if feed_forward in removed:
            form = adapters.get(feed_forward)
            layer.mlp = Adapter(hidden_size, form) if form else Nothing()
            layer.post_attention_layernorm = nn.Identity()


def of_kept_attention(config: Any, removed: Collection[str]) -> Any:
    """The configuration as a cache of keys and values is to see it: of kept attention alone."""
    kept = [n for n in range(config.num_hidden_layers) if f"attn.{n}" not in removed]
    if len(kept) == config.num_hidden_layers:
        return config
    view = copy.copy(config)
    view.__dict__.pop("_heterogeneity_spec", None)
    types = getattr(config, "layer_types", None)
    if types is not None:
        view.layer_types = [types[number] for number in kept]
    view.num_hidden_layers = len(kept)
    return view
