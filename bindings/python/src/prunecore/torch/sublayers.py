# SPDX-License-Identifier: Apache-2.0
"""Running sublayers of a decoder layer, and the norms at their inputs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor, nn

from prunecore.torch.architectures import Part, Parts

CACHES = ("cache", "layer_past", "past_key_values")
"""What layers and their attention call keys and values, in one model even by two names."""


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
    module = getattr(layer, part.modules[0])
    normed = _normed(layer, part.before, hidden)
    given = _named_as(module, arguments)
    read = (normed, hidden) if part.adds_input else (normed,)
    return _added(layer, parts, part, hidden, _first(module(*read, **given)))


def feed_forward(layer: nn.Module, parts: Parts, hidden: Tensor, source: Tensor) -> Tensor:
    """The hidden state after the feed-forward, which reads `source`: `hidden`, if not parallel."""
    part = parts.feed_forward
    normed = _normed(layer, part.before, source)
    update = normed
    for name in part.modules[:-1]:
        update = _first(getattr(layer, name)(update))
    last = getattr(layer, part.modules[-1])
    update = _first(last(update, hidden) if part.adds_input else last(update))
    for name in part.besides:
        update = update + _first(getattr(layer, name)(normed))
    return _added(layer, parts, part, hidden, update)


def left_behind(layer: nn.Module, parts: Parts, sublayer: int, hidden: Tensor) -> Tensor:
    """The hidden state after a removed sublayer, or an adapter in its place: sums stay normed."""
    return _normed(layer, parts.of(sublayer).last, hidden)


@dataclass(frozen=True)
class InputNorm:
    """The norm at a sublayer's input.

    Attributes
    ----------
    kind : {"rms", "layer"}
        Its formula.
    gain : Tensor or None
        With what the family adds to it; None = 1.
    bias : Tensor or None
        None = 0.
    epsilon : float
    """

    kind: str
    gain: Tensor | None
    bias: Tensor | None
    epsilon: float


def input_norm(layer: nn.Module, parts: Parts, sublayer: int) -> InputNorm | None:
    """The norm at a sublayer's input; None if there is none, or its epsilon is not known."""
    name = parts.of(sublayer).before
    norm = None if name is None else getattr(layer, name)
    epsilons = (getattr(norm, name, None) for name in ("variance_epsilon", "eps"))
    epsilon = next((own for own in epsilons if own is not None), None)
    if norm is None or epsilon is None:
        return None
    weight, bias = (getattr(norm, name, None) for name in ("weight", "bias"))
    return InputNorm(
        kind=parts.norm,
        gain=None if weight is None else weight.float() + parts.norm_offset,
        bias=None if bias is None else bias.float(),
        epsilon=float(epsilon),
    )


def _normed(layer: nn.Module, name: str | None, hidden: Tensor) -> Tensor:
    normed: Tensor = hidden if name is None else getattr(layer, name)(hidden)
    return normed


def _added(layer: nn.Module, parts: Parts, part: Part, hidden: Tensor, update: Tensor) -> Tensor:
    # Where the layers of a model are spread over devices, the update comes from the layer's.
    if part.adds_input:
        return update.to(hidden.device)
    update = _normed(layer, part.after, update).to(hidden.device)
    if parts.update_scale != 1:
        update = update * parts.update_scale
    return _normed(layer, part.last, hidden + update)


def _first(output: Any) -> Tensor:
    """What a module makes; attention gives its weights back, too, and experts their scores."""
    made: Tensor = output[0] if isinstance(output, tuple) else output
    return made


def _named_as(module: nn.Module, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a layer was called with, under the names that its attention has for it."""
    kind: Any = type(module)
    taken = _parameters(kind)
    own = next((name for name in CACHES if name in taken), None)
    return {
        own if own is not None and name in CACHES and name not in taken else name: value
        for name, value in arguments.items()
    }


@cache
def _parameters(kind: Any) -> frozenset[str]:
    """Names of what modules of a class take."""
    return frozenset(inspect.signature(kind.forward).parameters)
