# SPDX-License-Identifier: Apache-2.0
"""The reference for gradients: PyTorch's autograd through transformers, with mask and adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from oracle import Oracle

Update = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Graph:
    """One sequence as autograd sees it; every state is on the path to the logits."""

    states: list[torch.Tensor]  # 2 * n_blocks + 1, each (1, tokens, hidden)
    logits: torch.Tensor  # (tokens, vocabulary)


class GradientOracle(Oracle):
    """An oracle whose runs can be differentiated.

    `updates` maps removed sublayers to what stands in their place: hidden state to its update.
    """

    updates: Mapping[int, Update] = {}

    def graph(self, ids: np.ndarray, keep: np.ndarray | None = None) -> Graph:
        """Runs one sequence with gradients."""
        everything = np.ones(2 * self.n_blocks, dtype=np.uint8)
        self._keep = everything if keep is None else np.asarray(keep, dtype=np.uint8)
        self._states = []
        with torch.enable_grad():
            embedded = self.model.get_input_embeddings()(torch.from_numpy(ids)[None])
            embedded = embedded.detach().requires_grad_()
            output = self.model(inputs_embeds=embedded, use_cache=False)
        return Graph(self._states, output.logits[0])

    def _block_forward(
        self, layer: torch.nn.Module, block: int, hidden: torch.Tensor, **context: object
    ) -> torch.Tensor:
        for kind in (0, 1):
            sublayer = 2 * block + kind
            self._states.append(hidden)
            if not self._keep[sublayer]:
                # A new tensor, so that the state before and the one after are told apart.
                update = self.updates.get(sublayer, torch.zeros_like)
                hidden = hidden + update(hidden)
            elif kind == 0:
                normed = layer.input_layernorm(hidden)
                hidden = hidden + layer.self_attn(hidden_states=normed, **context)[0]
            else:
                hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return hidden

    def _record_final_state(self, _: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        self._states.append(inputs[0])


def objective_sum(
    name: str, graph: Graph, reference: Graph | None, ids: np.ndarray
) -> torch.Tensor:
    """An objective of one sequence, summed over the rows that predict a token."""
    logits = graph.logits[:-1]
    if name == "CE":
        wanted = torch.from_numpy(ids[1:])
        return torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
    assert reference is not None
    log_q = logits.log_softmax(-1)
    log_p = reference.logits[:-1].detach().log_softmax(-1)
    if name == "KL":
        return (log_p.exp() * (log_p - log_q)).sum()
    log_m = torch.logaddexp(log_p, log_q) - np.log(2)
    parts = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    return parts.sum() / 2


def objective(
    name: str,
    oracle: GradientOracle,
    sequences: Sequence[np.ndarray],
    keep: np.ndarray,
) -> tuple[torch.Tensor, list[Graph]]:
    """The objective of all sequences, and the graphs it hangs on."""
    updates, graphs, references = oracle.updates, [], []
    for ids in sequences:
        graphs.append(oracle.graph(ids, keep))
        oracle.updates = {}
        references.append(None if name == "CE" else oracle.graph(ids))
        oracle.updates = updates
    if name == "MSE":
        pairs = [
            (own.states[-1], full.states[-1].detach())
            for own, full in zip(graphs, references, strict=True)
        ]
        apart = sum((ours - full).square().sum() for ours, full in pairs)
        return apart / sum(full.square().sum() for _, full in pairs), graphs
    total = sum(
        objective_sum(name, *both, ids)
        for *both, ids in zip(graphs, references, sequences, strict=True)
        if len(ids) > 1
    )
    return total / sum(len(ids) - 1 for ids in sequences), graphs
