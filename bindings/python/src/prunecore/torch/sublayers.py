# SPDX-License-Identifier: Apache-2.0
"""Running sublayers of a decoder layer, and the norms at their inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from prunecore.torch.architectures import Part, Parts


def attention(
    layer: nn.Module, parts: Parts, hidden: Tensor, arguments: Mapping[str, Any]
) -> Tensor:
    """The hidden state after the attention.

    Parameters
    ----------
    hidden : Tensor, shape (sequences, length, hidden_size)
        That before it.
    arguments : mapping
        What the layer was called with besides: mask, positions, cache.
    """
    part = parts.attention
    update = getattr(layer, part.modules[0])(_normed(layer, part.before, hidden), **arguments)
    # Attention modules give their weights back, too.
    return _added(layer, part, hidden, update[0] if isinstance(update, tuple) else update)


def feed_forward(layer: nn.Module, parts: Parts, hidden: Tensor, source: Tensor) -> Tensor:
    """The hidden state after the feed-forward, which reads `source`: `hidden`, if not parallel."""
    part = parts.feed_forward
    update = _normed(layer, part.before, source)
    for name in part.modules:
        update = getattr(layer, name)(update)
    return _added(layer, part, hidden, update)


def root_mean_square_norm(
    layer: nn.Module, parts: Parts, sublayer: int
) -> tuple[Tensor, float] | None:
    """Gain and epsilon of the norm at a sublayer's input; None if that is not an RMSNorm."""
    name = parts.of(sublayer).before
    norm = None if name is None else getattr(layer, name)
    if norm is None or not type(norm).__name__.endswith("RMSNorm"):
        return None
    epsilon = getattr(norm, "variance_epsilon", None)
    epsilon = getattr(norm, "eps", None) if epsilon is None else epsilon
    return None if epsilon is None else (norm.weight.float() + parts.norm_offset, float(epsilon))


def _normed(layer: nn.Module, name: str | None, hidden: Tensor) -> Tensor:
    normed: Tensor = hidden if name is None else getattr(layer, name)(hidden)
    return normed


def _added(layer: nn.Module, part: Part, hidden: Tensor, update: Tensor) -> Tensor:
    # Where the layers of a model are spread over devices, the update comes from the layer's.
    total = hidden + _normed(layer, part.after, update).to(hidden.device)
    return _normed(layer, part.last, total)
