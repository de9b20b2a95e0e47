# SPDX-License-Identifier: Apache-2.0
"""What a model is worth on data under a mask."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a data set under one mask.

    Attributes
    ----------
    loss : float
        Weighted mean negative log-likelihood over all predicted tokens, nats.
    perplexity : float
        exp(loss): token-pooled.
    sequence_perplexity : float
        Mean over sequences of exp(mean loss of the sequence): that of arXiv 2407.16286.
    weight : float
        Sum of the weights of the predicted tokens.
    tokens : int
        Predicted tokens with a weight above 0.
    sequences : int
        Sequences that have such a token.
    """

    loss: float
    perplexity: float
    sequence_perplexity: float
    weight: float
    tokens: int
    sequences: int

    def to_dict(self) -> dict[str, float | int]:
        """All fields, for JSON."""
        return asdict(self)
