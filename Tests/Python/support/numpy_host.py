# SPDX-License-Identifier: Apache-2.0
"""A host that runs the random Llama of numpy_decoder.py, and offers all that there is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import prunecore as pc
from numpy_decoder import EPSILON, Decoder, log_softmax


@dataclass(frozen=True)
class State:
    """Rows of a batch, and how many of them each sequence has."""

    rows: np.ndarray
    lengths: np.ndarray

    def each(self) -> list[np.ndarray]:
        """The rows of each sequence."""
        return np.split(self.rows, np.cumsum(self.lengths)[:-1])


class NumpyHost(pc.Host):
    """All methods, in double precision."""

    architecture = "numpy"
    context_length = 128

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.n_blocks = decoder.sizes.blocks
        self.hidden_size = decoder.sizes.width
        self.vocabulary_size = decoder.sizes.vocabulary

    def embed(self, batch):
        return State(self.decoder.embedding[batch.token_ids], batch.sequence_lengths)

    def apply(self, sublayer, states):
        return [self._each(lambda h: self.decoder.apply(sublayer, h), state) for state in states]

    def token_losses(self, state, rows, tokens):
        return -self._log_chances(state, rows)[np.arange(len(rows)), tokens]

    def logits(self, state, first_row, n_rows):
        return self.decoder.logits(state.rows[first_row : first_row + n_rows])

    def distances(self, state, reference, kind, rows):
        if kind == "l2":
            own, other = (self.decoder.logits(s.rows[rows]) for s in (state, reference))
            return np.linalg.norm(own - other, axis=1)
        own, other = self._log_chances(state, rows), self._log_chances(reference, rows)
        return relative_entropy(other, own) if kind == "kl" else divergence(own, other)

    def compare(self, before, after, rows):
        h, g = before.rows[rows], after.rows[rows]
        return np.stack([f(x).sum(1) for x in (h, g, g - h) for f in (np.abs, np.square)], axis=1)

    def read(self, state):
        return state.rows

    def write(self, like, values):
        return replace(like, rows=np.array(values, dtype=np.float64))

    def norm(self, sublayer):
        return self.decoder.gains[sublayer], EPSILON

    def apply_adapter(self, adapter, state):
        h = state.rows
        x = h
        if adapter.norm_gain is not None:
            scale = np.sqrt((h**2).mean(-1, keepdims=True) + adapter.norm_epsilon)
            x = adapter.norm_gain * h / scale
        made = h + adapter.bias
        if adapter.kind == "low_rank":
            made = made + x @ adapter.down.T @ adapter.up.T
        elif adapter.kind == "linear":
            made = made + x @ adapter.matrix.T
        return replace(state, rows=made)

    def vjp(self, sublayer, states, gradients):
        return [
            replace(
                state,
                rows=np.concatenate(
                    [
                        self.decoder.vjp(sublayer, h, slope)
                        for h, slope in zip(state.each(), gradient.each(), strict=True)
                    ]
                ),
            )
            for state, gradient in zip(states, gradients, strict=True)
        ]

    def head_vjp(self, state, objective, reference, rows, tokens, weights):
        own = self._log_chances(state, rows)
        chances = np.exp(own)
        if objective == "ce":
            losses = -own[np.arange(len(rows)), tokens]
            slope = chances - np.eye(own.shape[1])[tokens]
        else:
            other = self._log_chances(reference, rows)
            if objective == "kl":
                losses, slope = relative_entropy(other, own), chances - np.exp(other)
            else:
                losses = divergence(own, other)
                middle = np.log((chances + np.exp(other)) / 2)
                inner = (own - middle) / 2
                slope = chances * (inner - (chances * inner).sum(-1, keepdims=True))
        gradient = np.zeros_like(state.rows)
        made = self.decoder.head_vjp(state.rows[rows], slope * weights[:, None])
        np.add.at(gradient, rows, made)
        return losses, replace(state, rows=gradient)

    def _log_chances(self, state, rows):
        return log_softmax(self.decoder.logits(state.rows[rows]))

    def _each(self, function, state):
        return replace(state, rows=np.concatenate([function(h) for h in state.each()]))


class WholeBlocksHost(NumpyHost):
    """The same model, run block by block."""

    whole_blocks = True
    norm = None  # of a block's second half: there is no such place
    vjp = None

    def apply(self, sublayer, states):
        assert sublayer % 2 == 0
        return super().apply(sublayer + 1, super().apply(sublayer, states))


class EvaluatingHost(pc.Host):
    """The same model, of which only losses of whole masks are to be had."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.n_blocks = decoder.sizes.blocks
        self.calls = 0

    def evaluate(self, batch, token_weights, keep_masks):
        self.calls += 1
        weights = np.ones(batch.n_tokens) if token_weights is None else token_weights
        counted = np.split(weights, np.cumsum(batch.sequence_lengths)[:-1])
        return [self._loss(batch.sequences, counted, keep) for keep in keep_masks]

    def _loss(self, sequences, weights, keep):
        total = mass = 0.0
        for ids, counted in zip(sequences, weights, strict=True):
            h = self.decoder.embedding[ids]
            for sublayer in np.flatnonzero(keep):
                h = self.decoder.apply(int(sublayer), h)
            losses = -log_softmax(self.decoder.logits(h[:-1]))[np.arange(len(ids) - 1), ids[1:]]
            total += (losses * counted[1:]).sum()
            mass += counted[1:].sum()
        return total / mass


def relative_entropy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL(p || q) of log-probabilities."""
    return (np.exp(p) * (p - q)).sum(-1)


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of log-probabilities."""
    middle = np.log((np.exp(p) + np.exp(q)) / 2)
    return (relative_entropy(p, middle) + relative_entropy(q, middle)) / 2
