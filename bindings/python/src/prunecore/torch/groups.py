# SPDX-License-Identifier: Apache-2.0
"""States that are computed together: which, as one tensor, and apart again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from prunecore.torch.states import TorchState


def together(states: Sequence[TorchState], most_tokens: int) -> list[list[int]]:
    """Which states are computed together: indices of those of one layout, up to so many tokens.

    States differ in whether they have sources, too: those without go by themselves. So do those of
    other places.
    """
    groups: dict[tuple[int, int, int], list[list[int]]] = {}
    for index, state in enumerate(states):
        cells = sum(tensor.shape[0] * tensor.shape[1] for tensor in state.tensors)
        most = max(1, most_tokens // max(1, cells))
        runs = groups.setdefault((id(state.layout), state.block, state.place), [[]])
        if len(runs[-1]) == most:
            runs.append([])
        runs[-1].append(index)
    return [run for runs in groups.values() for run in runs]


def joined(members: list[TorchState], block: int) -> list[tuple[int, Tensor, Tensor | None]]:
    """States of one layout one below the other: rectangle, hidden states, and their sources."""
    joined = []
    for rectangle in range(len(members[0].tensors)):
        sources = [found[rectangle] for s in members if (found := s.sources_of(block)) is not None]
        hidden = stacked([state.tensors[rectangle] for state in members])
        joined.append((rectangle, hidden, stacked(sources) if sources else None))
    return joined


def stacked(tensors: list[Tensor]) -> Tensor:
    """Tensors of several states as one, the first one's rows on top."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def split(tensors: list[Tensor], count: int) -> list[tuple[Tensor, ...]]:
    """Tensors of several states apart again: those of each state.

    Each in memory of its own: one that is kept must not keep the others'.
    """
    if count == 1:
        return [tuple(tensors)]
    parts = [tensor.chunk(count) for tensor in tensors]
    return [tuple(part[index].clone() for part in parts) for index in range(count)]


def joined_by(gradient: TorchState, ways: tuple[Tensor, ...] | None) -> TorchState:
    """A gradient with what came by another way."""
    if ways is None:
        return gradient
    pairs = zip(gradient.tensors, ways, strict=True)
    return replace(gradient, tensors=tuple(own + way.to(own) for own, way in pairs))
