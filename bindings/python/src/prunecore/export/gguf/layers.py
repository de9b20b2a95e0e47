# SPDX-License-Identifier: Apache-2.0
"""From operations to the layers of a GGUF file.

A layer of llama.cpp is an attention slot and a feed-forward slot. Its architecture `deci` (of
Llama-Nemotron) lets the attention slot be empty, or hold one matrix after a norm; but

- a layer whose feed-forward slot is empty loses its attention without a word, and ends the process
  if it is the last one: so no slot stays empty; a feed-forward of zeros stands in it;
- an attention-free layer cannot be the first one: so a matrix of zeros stands there;
- output biases are computed only after a full attention and after a feed-forward: so a bias that
  follows a matrix goes to a feed-forward of zeros, in a layer of its own.

Removed blocks are not marked but left out, and layers numbered anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prunecore.export.gguf.operations import Attention, FeedForward, Linear, Operation, Vector

# The least width whose rows every block of quantised numbers divides, k-quants aside.
ZERO_WIDTH = 32


@dataclass(eq=False)
class Layer:
    """A layer of a GGUF file.

    Attributes
    ----------
    attention : Attention, Linear, or None
        What is in its attention slot; None = nothing.
    feed_forward : FeedForward or None
        What is in its feed-forward slot; None = zeros, `ZERO_WIDTH` wide.
    attention_bias, feed_forward_bias : array or None
        Added to what comes out of the slots, besides the model's own biases.
    closed : bool
        Whether the feed-forward slot is taken, by zeros too.
    """

    attention: Attention | Linear | None = None
    feed_forward: FeedForward | None = None
    attention_bias: Vector | None = None
    feed_forward_bias: Vector | None = None
    closed: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is a layer as all models have them: attention and feed-forward."""
        return isinstance(self.attention, Attention) and self.feed_forward is not None

    def add(self, bias: Vector) -> None:
        """Adds a vector to the stream after all that is in the layer so far."""
        if isinstance(self.attention, Attention) and not self.closed:
            self.attention_bias = _sum(self.attention_bias, bias)
            return
        self.closed = True
        self.feed_forward_bias = _sum(self.feed_forward_bias, bias)

    def describe(self) -> dict[str, str | None]:
        """Where its slots come from, for the file's metadata."""
        return {
            "attention": None if self.attention is None else self.attention.source,
            "feed_forward": "zero" if self.feed_forward is None else self.feed_forward.source,
        }


def _sum(before: Vector | None, added: Vector) -> Vector:
    return added.copy() if before is None else before + added


def layers(operations: Iterable[Operation]) -> list[Layer]:
    """The fewest layers that compute the operations, in order; at least one."""
    made: list[Layer] = []
    for operation in operations:
        if isinstance(operation, (Attention, Linear)):
            made.append(Layer(attention=operation))
        elif isinstance(operation, FeedForward):
            if not made or made[-1].closed:
                made.append(Layer())
            made[-1].feed_forward = operation
            made[-1].closed = True
        else:
            if not made:
                made.append(Layer(attention=Linear(None)))
            made[-1].add(operation.vector)
    if not made:
        made.append(Layer())
    if made[0].attention is None:
        made[0].attention = Linear(None)
    return made
