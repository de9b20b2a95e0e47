# SPDX-License-Identifier: Apache-2.0
"""Norms of sums, which stay behind where sublayers are removed."""

from __future__ import annotations

from torch import Tensor, nn

from prunecore.torch.architectures import Parts
from prunecore.torch.sublayers import left_behind


class SumNorms:
    """The norms of a model that come after its sublayers, on the residual stream itself.

    The library does not apply removed sublayers. So a state says before which one it stands, and
    what is left of those that were passed over is computed when the state is next used.

    Parameters
    ----------
    blocks : list of Module
        The model's decoder layers.
    parts : Parts or None
        How they are made; None = whole blocks, which leave nothing behind.
    """

    def __init__(self, blocks: list[nn.Module], parts: Parts | None) -> None:
        self._blocks = blocks
        self._parts = parts if parts is not None and parts.norm_sums else None

    def place(self, sublayer: int) -> int:
        """What a state before that sublayer has as its place."""
        return 0 if self._parts is None else sublayer

    def settled(self, hidden: Tensor, place: int, sublayer: int) -> Tensor:
        """Hidden values of a state as that sublayer finds them."""
        if self._parts is not None:
            for skipped in range(place, sublayer):
                hidden = left_behind(self._blocks[skipped // 2], self._parts, skipped, hidden)
        return hidden
