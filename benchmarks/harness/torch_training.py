# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters in PyTorch, as somebody would write them, and a step of their training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

LEARNING_RATE = 1e-3


class LowRank(torch.nn.Module):
    """What stands in the place of a removed attention layer: bias + up * down * norm(h)."""

    def __init__(self, norm: torch.nn.Module, width: int, rank: int) -> None:
        super().__init__()
        self.norm = norm
        self.down = torch.nn.Parameter(torch.randn(rank, width) / width**0.5)
        self.up = torch.nn.Parameter(torch.zeros(width, rank))
        self.bias = torch.nn.Parameter(torch.zeros(width))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        x = self.norm(hidden)
        return torch.nn.functional.linear(
            torch.nn.functional.linear(x, self.down), self.up, self.bias
        )


class Training:
    """A frozen model, adapters in the places of some attention layers, and AdamW."""

    def __init__(self, model: Any, blocks: Sequence[int], rank: int, autocast: bool) -> None:
        self.model, self.autocast = model, autocast
        model.requires_grad_(False)
        width = model.config.hidden_size
        self.layers = [model.model.layers[block] for block in blocks]
        self.adapters = [LowRank(layer.input_layernorm, width, rank) for layer in self.layers]
        parameters = [p for a in self.adapters for p in a.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)

    def step(self, ids: torch.Tensor) -> float:
        """One step on a batch of sequences: the divergence from the whole model, downhill."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            with torch.no_grad():
                wanted = self.model(ids, use_cache=False).logits[:, :-1].float().log_softmax(-1)
            self._recover(True)
            try:
                found = self.model(ids, use_cache=False).logits[:, :-1].float().log_softmax(-1)
            finally:
                self._recover(False)
        divergence = torch.nn.functional.kl_div(
            found.flatten(0, 1), wanted.flatten(0, 1), reduction="batchmean", log_target=True
        )
        self.optimiser.zero_grad()
        divergence.backward()
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimiser.step()
        return divergence.item()

    def _recover(self, on: bool) -> None:
        for layer, adapter in zip(self.layers, self.adapters, strict=True):
            if on:
                layer.forward = recovered(layer, adapter)
            else:
                del layer.forward


def recovered(layer: Any, adapter: LowRank) -> Any:
    """The forward function of a block with an adapter for its attention."""

    def forward(hidden_states: torch.Tensor, **_: Any) -> torch.Tensor:
        hidden = hidden_states + adapter(hidden_states)
        return hidden + layer.mlp(layer.post_attention_layernorm(hidden))

    return forward
