# SPDX-License-Identifier: Apache-2.0
"""The reference: transformers on the CPU in fp32, with a mask over sublayers.

Weights stored as bf16 or fp16 are widened to fp32, so the oracle computes with the numbers in the
file. Every sequence is run alone: nothing is padded and nothing can leak between sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

REMEMBERED_RUNS = 16


@dataclass(frozen=True)
class Run:
    """What a model computes for some sequences, rows of all sequences one after the other."""

    logits: np.ndarray  # (tokens, vocabulary), float32
    token_losses: np.ndarray  # (tokens,), float64; 0 for the first token of each sequence
    states: np.ndarray  # (2 * n_blocks + 1, tokens, hidden), float32, on the residual stream


class Oracle:
    """A model of transformers whose sublayers can be removed.

    `run` takes one byte per sublayer, 1 = kept. A removed sublayer hands its input on; its norm is
    not computed, and the rotary positions of the other sublayers stay as they are.
    """

    def __init__(self, directory: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.n_blocks: int = self.model.config.num_hidden_layers
        self._keep = np.ones(2 * self.n_blocks, dtype=np.uint8)
        self._states: list[torch.Tensor] = []
        self._runs: dict[tuple[bytes, tuple[bytes, ...]], Run] = {}
        for block, layer in enumerate(self.model.model.layers):
            layer.forward = partial(self._block_forward, layer, block)
        self.model.model.norm.register_forward_pre_hook(self._record_final_state)

    def run(self, sequences: Sequence[np.ndarray], keep: np.ndarray | None = None) -> Run:
        """Runs all sequences under a mask; recent answers are kept."""
        kept = np.ones(2 * self.n_blocks, dtype=np.uint8) if keep is None else keep
        kept = np.asarray(kept, dtype=np.uint8)
        assert kept.shape == (2 * self.n_blocks,)
        ids = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
        key = (kept.tobytes(), tuple(sequence.tobytes() for sequence in ids))
        run = self._runs.pop(key, None) or self._compute(ids, kept)
        self._runs[key] = run
        if len(self._runs) > REMEMBERED_RUNS:
            del self._runs[next(iter(self._runs))]
        return run

    def _compute(self, sequences: list[np.ndarray], keep: np.ndarray) -> Run:
        self._keep = keep
        logits, losses, states = [], [], []
        for ids in sequences:
            self._states = []
            with torch.inference_mode():
                output = self.model(torch.from_numpy(ids)[None], use_cache=False)
            logits.append(output.logits[0].numpy())
            losses.append(token_losses(logits[-1], ids))
            states.append(torch.stack(self._states).numpy())
        return Run(np.concatenate(logits), np.concatenate(losses), np.concatenate(states, axis=1))

    def _block_forward(
        self, layer: torch.nn.Module, block: int, hidden: torch.Tensor, **context: object
    ) -> torch.Tensor:
        self._states.append(hidden[0])
        if self._keep[2 * block]:
            attention = layer.self_attn(hidden_states=layer.input_layernorm(hidden), **context)
            hidden = hidden + attention[0]
        self._states.append(hidden[0])
        if self._keep[2 * block + 1]:
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return hidden

    def _record_final_state(self, _: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        self._states.append(inputs[0][0])


def token_losses(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Loss of every token of one sequence in nats, in float64; 0 for the first token."""
    wide = logits[:-1].astype(np.float64)
    top = wide.max(axis=1, initial=-np.inf, keepdims=True)
    log_sum = top[:, 0] + np.log(np.exp(wide - top).sum(axis=1))
    return np.concatenate([[0.0], log_sum - wide[np.arange(len(wide)), ids[1:]]])


def mean_loss(losses: np.ndarray, weights: np.ndarray) -> float:
    """Weighted mean over predicted tokens; `weights` is 0 where nothing is predicted."""
    return float((losses * weights).sum() / weights.sum())


def predicted(lengths: Sequence[int]) -> np.ndarray:
    """1 for every token that something predicts: all but the first of each sequence."""
    return np.concatenate([np.arange(length) > 0 for length in lengths]).astype(np.float64)


def predicting(lengths: Sequence[int]) -> np.ndarray:
    """1 for every token that predicts one of its sequence: all but the last."""
    return np.concatenate([np.arange(length) < length - 1 for length in lengths]).astype(float)


def sequence_perplexity(losses: np.ndarray, weights: np.ndarray, lengths: Sequence[int]) -> float:
    """Mean over sequences of exp(mean loss of the sequence); those without weight are left out."""
    ends = np.cumsum(lengths)[:-1]
    pairs = zip(np.split(losses, ends), np.split(weights, ends), strict=True)
    return float(np.mean([np.exp(mean_loss(loss, w)) for loss, w in pairs if w.sum() > 0]))


def without(keep: np.ndarray, sublayers: range) -> np.ndarray:
    """The mask with some sublayers removed as well."""
    less = keep.copy()
    less[list(sublayers)] = 0
    return less


def leave_one_out(
    oracle: Oracle,
    sequences: Sequence[np.ndarray],
    units: Sequence[range],
    measure: Callable[[Run, Run], float],
    keep: np.ndarray | None = None,
) -> np.ndarray:
    """`measure(with the unit, without it)` for every unit."""
    base = np.ones(2 * oracle.n_blocks, dtype=np.uint8) if keep is None else keep
    whole = oracle.run(sequences, base)
    return np.array([measure(whole, oracle.run(sequences, without(base, unit))) for unit in units])
