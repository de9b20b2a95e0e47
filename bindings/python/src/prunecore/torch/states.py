# SPDX-License-Identifier: Apache-2.0
"""Hidden states, and gradients of them, as tensors on the model's device."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from prunecore.torch.layouts import Layout


@dataclass(frozen=True)
class TorchState:
    """The hidden state of a batch, in the model's type. It is never changed.

    Attributes
    ----------
    layout : Layout
        Which sequences it is of.
    tensors : tuple of Tensor, each of shape (sequences, length, hidden_size)
        The residual stream, a tensor per rectangle.
    sources : tuple of Tensor, or None
        What the feed-forward of a block reads, where that is the block's input: of a state between
        its two sublayers.
    ways : tuple of Tensor, or None
        Of a gradient there: the part of it that goes by the sources.
    block : int
        Of the sources, or the ways; -1 if there are none.
    place : int
        The sublayer before which it stands, in models that norm sums: norms that removed sublayers
        leave behind are still to come from there on. In others it is 0.
    """

    layout: Layout
    tensors: tuple[Tensor, ...]
    sources: tuple[Tensor, ...] | None = None
    ways: tuple[Tensor, ...] | None = None
    block: int = -1
    place: int = 0

    def sources_of(self, block: int) -> tuple[Tensor, ...] | None:
        """The sources if they are of this block: those of an earlier one are of no use any more."""
        return self.sources if self.block == block else None

    def plain(self, tensors: tuple[Tensor, ...]) -> TorchState:
        """A state of the same sequences and place that carries nothing but its hidden values."""
        return TorchState(self.layout, tensors, place=self.place)

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        return self.tensors[0].device

    def rows(self, rows: npt.NDArray[np.int64] | None = None) -> Tensor:
        """Some rows, or all: shape (n, hidden_size), without padding."""
        flat = self._flat()
        cells = self.layout.cells(rows, flat.device)
        return flat if cells is None else flat.index_select(0, cells)

    def with_values(self, values: Tensor) -> TorchState:
        """A state like it, with other values: shape (n_tokens, hidden_size).

        Padding becomes zeros: in a gradient, anything else would flow into the tokens before it.
        """
        flat = self._flat()
        cells = self.layout.cells(None, flat.device)
        values = values.to(flat)
        if cells is not None:
            values = torch.zeros_like(flat).index_copy_(0, cells, values)
        return self._with_flat(values)

    def sum_of_rows(self, values: Tensor, rows: npt.NDArray[np.int64]) -> TorchState:
        """Zeros like this state, plus values in some rows, which may repeat; no sources."""
        flat = values.new_zeros(self._flat().shape)
        cells = self.layout.cells(rows, flat.device)
        if cells is not None:
            flat.index_add_(0, cells, values)
        return self.plain(self._with_flat(flat.to(self.tensors[0].dtype)).tensors)

    def _flat(self) -> Tensor:
        flats = [tensor.reshape(-1, tensor.shape[-1]) for tensor in self.tensors]
        return flats[0] if len(flats) == 1 else torch.cat(flats)

    def _with_flat(self, flat: Tensor) -> TorchState:
        sizes = [tensor.shape[0] * tensor.shape[1] for tensor in self.tensors]
        parts = torch.split(flat, sizes)
        tensors = [part.reshape(old.shape) for part, old in zip(parts, self.tensors, strict=True)]
        return replace(self, tensors=tuple(tensors))
