# SPDX-License-Identifier: Apache-2.0
"""A tiny decoder in NumPy, for embed_python.c: what a program's own engine offers to PruneCore."""

import numpy as np
import prunecore as pc

BLOCKS, WIDTH, HIDDEN, VOCABULARY = 3, 16, 32, 40


class Decoder(pc.Host):
    """Causal attention of one head and a feed-forward per block, each after a norm.

    A state is an array of float64, one row per token, beside the lengths of its sequences.
    """

    n_blocks = BLOCKS
    hidden_size = WIDTH
    vocabulary_size = VOCABULARY
    architecture = "NumpyDecoder"

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)

        def matrix(*shape: int) -> np.ndarray:
            return random.standard_normal(shape) / np.sqrt(shape[-1])

        self.embedding = matrix(VOCABULARY, WIDTH) * 4
        self.attention = [matrix(4, WIDTH, WIDTH) for _ in range(BLOCKS)]
        self.gates = [(matrix(HIDDEN, WIDTH), matrix(WIDTH, HIDDEN)) for _ in range(BLOCKS)]

    def embed(self, batch):
        return self.embedding[batch.token_ids], batch.sequence_lengths.copy()

    def apply(self, sublayer, states):
        return [self._applied(sublayer, *state) for state in states]

    def _applied(self, sublayer, h, lengths):
        x = h / np.sqrt((h**2).mean(axis=1, keepdims=True) + 1e-6)
        if sublayer % 2:
            up, down = self.gates[sublayer // 2]
            return h + np.tanh(x @ up.T) @ down.T, lengths
        query, key, value, output = self.attention[sublayer // 2]
        ends = np.cumsum(lengths)
        updates = []
        for begin, end in zip(ends - lengths, ends, strict=True):
            rows = x[begin:end]
            scores = (rows @ query.T) @ (rows @ key.T).T / np.sqrt(WIDTH)
            weights = np.exp(np.where(np.tri(len(rows), dtype=bool), scores, -np.inf))
            weights /= weights.sum(axis=1, keepdims=True)
            updates.append(weights @ (rows @ value.T) @ output.T)
        return h + np.concatenate(updates), lengths

    def read(self, state):
        return state[0].astype(np.float32)

    def logits(self, state, first_row, n_rows):
        h = state[0][first_row : first_row + n_rows]
        return (h @ self.embedding.T / 4).astype(np.float32)


host = Decoder()
