# SPDX-License-Identifier: Apache-2.0
"""A host that runs the modules of transformers in fp32, with gradients from torch.autograd."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import prunecore as pc
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class State:
    """Hidden rows of each sequence of a batch."""

    parts: tuple[Tensor, ...]

    @property
    def rows(self) -> Tensor:
        return torch.cat(self.parts)

    def filled(self, rows: Tensor) -> State:
        return replace(self, parts=torch.split(rows, [len(part) for part in self.parts]))


class TransformersHost(pc.Host):
    """The modules of a causal language model, sequence after sequence."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module, config = module, module.config
        self.n_blocks = config.num_hidden_layers
        self.hidden_size = config.hidden_size
        self.vocabulary_size = config.vocab_size
        self.architecture = config.architectures[0]

    def embed(self, batch):
        with torch.no_grad():
            ids = [torch.from_numpy(ids).long() for ids in batch.sequences]
            return State(tuple(self.module.model.embed_tokens(each) for each in ids))

    def apply(self, sublayer, states):
        with torch.no_grad():
            return [State(tuple(self._after(sublayer, h) for h in s.parts)) for s in states]

    def token_losses(self, state, rows, tokens):
        with torch.no_grad():
            return self._losses(state.rows[rows], tokens).numpy()

    def logits(self, state, first_row, n_rows):
        with torch.no_grad():
            return self._head(state.rows[first_row : first_row + n_rows]).numpy()

    def read(self, state):
        return state.rows.numpy()

    def write(self, like, values):
        return like.filled(torch.tensor(values))

    def norm(self, sublayer):
        norm = self._norm(sublayer)
        return norm.weight.detach().numpy(), norm.variance_epsilon

    def vjp(self, sublayer, states, gradients):
        made = []
        for state, gradient in zip(states, gradients, strict=True):
            parts = []
            for h, slope in zip(state.parts, gradient.parts, strict=True):
                leaf = h.clone().requires_grad_()
                (by_h,) = torch.autograd.grad(self._after(sublayer, leaf), leaf, slope)
                parts.append(by_h)
            made.append(State(tuple(parts)))
        return made

    def head_vjp(self, state, objective, reference, rows, tokens, weights):
        leaf = state.rows.clone().requires_grad_()
        if objective == "ce":
            losses = self._losses(leaf[rows], tokens)
        else:
            own = functional.log_softmax(self._head(leaf[rows]), -1)
            with torch.no_grad():
                other = functional.log_softmax(self._head(reference.rows[rows]), -1)
            losses = (other.exp() * (other - own)).sum(-1)
            if objective == "js":
                middle = torch.logsumexp(torch.stack([own, other]), 0) - np.log(2)
                both = [(p.exp() * (p - middle)).sum(-1) for p in (own, other)]
                losses = (both[0] + both[1]) / 2
        (gradient,) = torch.autograd.grad(losses, leaf, torch.tensor(weights))
        return losses.detach().numpy(), state.filled(gradient)

    def _after(self, sublayer: int, h: Tensor) -> Tensor:
        layer, x = self.module.model.layers[sublayer // 2], self._norm(sublayer)(h)
        if sublayer % 2:
            return h + layer.mlp(x)
        positions = torch.arange(len(h))[None]
        away = positions.T - positions
        window = getattr(layer.self_attn, "sliding_window", None)
        if self.module.config.model_type == "mistral":  # of all its layers
            window = self.module.config.sliding_window
        seen = (away >= 0) & (away < (window or len(h)))
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
        rotary = self.module.model.rotary_emb(h[None], positions)
        update, _ = layer.self_attn(
            hidden_states=x[None], attention_mask=mask[None, None], position_embeddings=rotary
        )
        return h + update[0]

    def _norm(self, sublayer: int) -> torch.nn.Module:
        layer = self.module.model.layers[sublayer // 2]
        return layer.post_attention_layernorm if sublayer % 2 else layer.input_layernorm

    def _head(self, rows: Tensor) -> Tensor:
        return self.module.lm_head(self.module.model.norm(rows))

    def _losses(self, rows: Tensor, tokens: np.ndarray) -> Tensor:
        wanted = torch.from_numpy(tokens).long()
        return functional.cross_entropy(self._head(rows), wanted, reduction="none")
