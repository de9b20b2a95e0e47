# SPDX-License-Identifier: Apache-2.0
"""Pulling gradients back through sublayers and the head, by torch.autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Forward = Callable[[Tensor, "Tensor | None"], Tensor]
"""Hidden state and source, if there is one, to the hidden state after."""


@dataclass(frozen=True)
class Pulled:
    """Gradients with respect to what a sublayer read.

    Attributes
    ----------
    hidden : Tensor
        By the hidden state before it.
    source : Tensor or None
        By the source, if it was a tensor of its own.
    """

    hidden: Tensor
    source: Tensor | None


def pull(forward: Forward, hidden: Tensor, source: Tensor | None, gradient: Tensor) -> Pulled:
    """Recomputes a sublayer, and pulls a gradient back through it.

    Parameters
    ----------
    forward : callable
        The sublayer.
    hidden : Tensor
        State before it.
    source : Tensor or None
        What a parallel feed-forward reads in its place.
    gradient : Tensor
        Of a scalar, with respect to the state after it.
    """
    with torch.enable_grad():
        read = [hidden.detach().requires_grad_()]
        if source is not None:
            read.append(source.detach().requires_grad_())
        after = forward(read[0], read[1] if len(read) > 1 else None)
    pulled = torch.autograd.grad(after, read, gradient.to(after))
    return Pulled(pulled[0], pulled[1] if len(pulled) > 1 else None)
