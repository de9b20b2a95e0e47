# SPDX-License-Identifier: Apache-2.0
"""The reference for every family: transformers in fp32 on the CPU, with a mask over sublayers.

The modules are transformers' own; only the order in which a block calls them is here, as
family_plans says. A removed sublayer adds nothing. The norm of what it reads is computed if another
kept sublayer reads it, too, and that of what it hands out goes with it; the norm of a sum stays.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from family_norms import load_family
from family_plans import is_block, plan_of
from oracle import token_losses
from torch.nn import Module

REMEMBERED_RUNS = 16
Update = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class FamilyRun:
    """What a model computes for some sequences, rows of all sequences one after the other."""

    logits: np.ndarray  # (tokens, vocabulary), float32
    token_losses: np.ndarray  # (tokens,), float64; 0 for the first token of each sequence
    states: np.ndarray  # (2 * n_blocks + 1, tokens, hidden), float32, on the residual stream
    updates: np.ndarray  # (2 * n_blocks, tokens, hidden), float32: what each sublayer adds


@dataclass(frozen=True)
class FamilyGradient:
    """The mean loss of the predicted tokens, and its gradient by every state."""

    loss: float
    values: np.ndarray  # (2 * n_blocks + 1, tokens, hidden), float32


class FamilyOracle:
    """A model of transformers whose sublayers can be removed: one byte each, 1 = kept.

    Every sequence is run alone. What a rotary rule keeps of longer sequences is forgotten before
    each, so that a sequence does not depend on those before it.
    """

    def __init__(self, directory: Path, trusting: bool = False) -> None:
        self.model = load_family(directory, trusting)
        self.model.requires_grad_(False)
        self.model.get_input_embeddings().requires_grad_()
        self.layers = [module for module in self.model.modules() if is_block(module)]
        self.n_blocks = len(self.layers)
        assert self.n_blocks == self.model.config.num_hidden_layers
        self._keep = np.ones(2 * self.n_blocks, dtype=np.uint8)
        self._replacements: Mapping[int, Update] = {}
        self._states: list[torch.Tensor] = []
        self._updates: list[torch.Tensor] = []
        self._runs: dict[tuple[bytes, ...], FamilyRun] = {}
        for block, layer in enumerate(self.layers):
            layer.forward = partial(self._block_forward, layer, block)

    def run(self, sequences: Sequence[np.ndarray], keep: np.ndarray | None = None) -> FamilyRun:
        """Runs all sequences under a mask; recent answers are kept."""
        ids = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
        kept = self._mask(keep)
        key = (kept.tobytes(), *(sequence.tobytes() for sequence in ids))
        run = self._runs.pop(key, None) or self._compute(ids, kept)
        self._runs[key] = run
        if len(self._runs) > REMEMBERED_RUNS:
            del self._runs[next(iter(self._runs))]
        return run

    def _compute(self, sequences: list[np.ndarray], keep: np.ndarray) -> FamilyRun:
        logits, losses, states, updates = [], [], [], []
        for ids in sequences:
            with torch.inference_mode():
                logits.append(self._forward(ids, keep).numpy())
            losses.append(token_losses(logits[-1], ids))
            states.append(torch.cat(self._states).numpy())
            updates.append(torch.cat(self._updates).numpy())
        return FamilyRun(
            np.concatenate(logits),
            np.concatenate(losses),
            np.concatenate(states, axis=1),
            np.concatenate(updates, axis=1),
        )

    def run_with(
        self, sequences: Sequence[np.ndarray], keep: np.ndarray, updates: Mapping[int, Update]
    ) -> FamilyRun:
        """Runs all sequences with something else in the places of removed sublayers.

        `updates` gives what is added there, from the hidden state before.
        """
        self._replacements = updates
        try:
            return self._compute(list(sequences), self._mask(keep))
        finally:
            self._replacements = {}

    def gradient(
        self, sequences: Sequence[np.ndarray], keep: np.ndarray | None = None
    ) -> FamilyGradient:
        """The gradient of the mean loss by the state before each sublayer, and after the last.

        Where attention is removed, the states before and after it are one, and both gradients, too.
        """
        total = torch.zeros(())
        states = []
        for ids in sequences:
            with torch.enable_grad():
                logits = self._forward(ids, self._mask(keep))
            if len(ids) > 1:
                wanted = torch.from_numpy(np.asarray(ids[1:], dtype=np.int64))
                total = total + torch.nn.functional.cross_entropy(
                    logits[:-1], wanted, reduction="sum"
                )
            states.append(self._states)
        loss = total / sum(len(ids) - 1 for ids in sequences)
        flat = [state for own in states for state in own]
        slopes = iter(torch.autograd.grad(loss, flat, allow_unused=True))
        values = [np.stack([_slope(state, next(slopes)) for state in own]) for own in states]
        return FamilyGradient(loss.item(), np.concatenate(values, axis=1))

    def greedy(
        self, prompt: np.ndarray, count: int, keep: np.ndarray | None = None
    ) -> tuple[np.ndarray, float]:
        """The likeliest tokens after a prompt, each from the whole text anew.

        And the least lead of a chosen token over the next, which says whether another order of
        additions could choose differently.
        """
        ids = list(np.asarray(prompt, dtype=np.int64))
        lead = float("inf")
        for _ in range(count):
            with torch.inference_mode():
                last = self._forward(np.array(ids), self._mask(keep))[-1].numpy()
            best, second = np.argsort(last)[:-3:-1]
            lead = min(lead, float(last[best] - last[second]))
            ids.append(best)
        return np.array(ids[len(prompt) :]), lead

    def norm(self, sublayer: int) -> Module | None:
        """The norm of what a sublayer reads; None if it reads the hidden state itself."""
        layer = self.layers[sublayer // 2]
        name = plan_of(layer).before[sublayer % 2]
        return None if name is None else getattr(layer, name)

    def normed(self, sublayer: int, states: np.ndarray) -> np.ndarray:
        """States as the norm of what a sublayer reads makes them."""
        norm = self.norm(sublayer)
        if norm is not None:
            with torch.inference_mode():
                states = norm(torch.from_numpy(states)).numpy()
        return states.astype(np.float64)

    def is_parallel(self, block: int) -> bool:
        """Whether the feed-forward of a block reads the state that its attention reads."""
        return plan_of(self.layers[block]).parallel

    def norms_sums(self, block: int) -> bool:
        """Whether norms follow the sums of a block."""
        return plan_of(self.layers[block]).of_sum != (None, None)

    def _mask(self, keep: np.ndarray | None) -> np.ndarray:
        everything = np.ones(2 * self.n_blocks, dtype=np.uint8)
        kept = everything if keep is None else np.asarray(keep, dtype=np.uint8)
        assert kept.shape == everything.shape
        return kept

    def _forward(self, ids: np.ndarray, keep: np.ndarray) -> torch.Tensor:
        """Logits of one sequence, (tokens, vocabulary); leaves states and updates."""
        self._keep, self._states, self._updates = keep, [], []
        forget_longer_sequences(self.model)
        given = torch.from_numpy(np.asarray(ids, dtype=np.int64))[None]
        return self.model(given, use_cache=False).logits[0]

    def _block_forward(self, layer: Module, block: int, *given: object, **more: object) -> object:
        bound = inspect.signature(type(layer).forward).bind(layer, *given, **more).arguments
        context = {**bound, **bound.pop("kwargs", {})}
        context.pop("self")
        hidden = context.pop("hidden_states")
        assert isinstance(hidden, torch.Tensor)
        if block == 0:
            self._states.append(hidden)
        plan, first = plan_of(layer), hidden
        for kind in (0, 1):
            read = first if plan.parallel and self._keep[2 * block] else hidden
            if self._keep[2 * block + kind]:
                x = read if plan.before[kind] is None else getattr(layer, plan.before[kind])(read)
                if kind == 0:
                    attention = getattr(layer, plan.attention)
                    own = {dict(plan.renamed).get(name, name): v for name, v in context.items()}
                    if plan.residual:
                        own["residual"] = torch.zeros_like(x)
                    added = attention(hidden_states=x, **_accepted(attention, own))[0]
                else:
                    added = plan.feed_forward(layer, x)
                if plan.after[kind] is not None:
                    added = getattr(layer, plan.after[kind])(added)
                if plan.multiplier is not None:
                    added = added * getattr(layer, plan.multiplier)
                hidden = hidden + added
            else:
                added = self._replacements.get(2 * block + kind, torch.zeros_like)(hidden)
                hidden = hidden + added if 2 * block + kind in self._replacements else hidden
            if plan.of_sum[kind] is not None:
                hidden = getattr(layer, plan.of_sum[kind])(hidden)
            self._updates.append(added)
            self._states.append(hidden)
        return (hidden, None) if plan.pair else hidden


def _slope(state: torch.Tensor, slope: torch.Tensor | None) -> np.ndarray:
    """The gradient by a state of one sequence; none of a sequence that predicts nothing."""
    return (torch.zeros_like(state) if slope is None else slope)[0].detach().numpy()


def _accepted(module: Module, context: dict[str, object]) -> dict[str, object]:
    """Of what a block was given, what its attention takes."""
    parameters = inspect.signature(type(module).forward).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return context
    return {name: value for name, value in context.items() if name in parameters}


def forget_longer_sequences(model: Module) -> None:
    """Gives rotary rules that grow with the text the frequencies that they began with."""
    for module in model.modules():
        if hasattr(module, "original_max_seq_len") and hasattr(module, "original_inv_freq"):
            module.max_seq_len_cached = module.original_max_seq_len
            module.inv_freq = module.original_inv_freq.clone()
