# SPDX-License-Identifier: Apache-2.0
"""What is left of a model, as a list of operations on the residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from prunecore._native.names.units import sublayer_name
from prunecore.errors import UnsupportedError

if TYPE_CHECKING:
    from prunecore.masks.mask import Mask
    from prunecore.recovery.adapter_records import Adapter
    from prunecore.recovery.adapters import Adapters

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Attention:
    """h + attention(norm(h)) of a block, with its key-value cache."""

    block: int

    @property
    def source(self) -> str:
        """Name of the sublayer that it comes from."""
        return f"attn.{self.block}"


@dataclass(frozen=True)
class FeedForward:
    """h + feed_forward(norm(h)) of a block."""

    block: int

    @property
    def source(self) -> str:
        """Name of the sublayer that it comes from."""
        return f"ffn.{self.block}"


@dataclass(frozen=True)
class Linear:
    """h + matrix @ norm(h): the adapter of a sublayer, without its bias.

    `sublayer` is that in whose place it stands; None = a matrix of zeros.
    """

    sublayer: int | None

    @property
    def source(self) -> str:
        """Name of the sublayer in whose place it stands."""
        return "zero" if self.sublayer is None else f"adapter of {sublayer_name(self.sublayer)}"


@dataclass(frozen=True, eq=False)
class Bias:
    """h + vector: bias adapters, and the biases of others."""

    vector: Vector  # (hidden_size,)


Operation: TypeAlias = Attention | FeedForward | Linear | Bias


def operations(mask: Mask, adapters: Adapters | None) -> list[Operation]:
    """The operations of a pruned or recovered model, in order.

    Low-rank adapters are linear ones whose matrix is multiplied out: the same function.

    Raises
    ------
    UnsupportedError
        An adapter reads the stream as it is: llama.cpp has no layer that does.
    """
    standing = {} if adapters is None else {adapter.sublayer: adapter for adapter in adapters}
    found: list[Operation] = []
    for sublayer, keeps in enumerate(mask.keep):
        if keeps:
            kind = FeedForward if sublayer % 2 else Attention
            found.append(kind(sublayer // 2))
        elif sublayer in standing and adapters is not None:
            if standing[sublayer].kind != "bias":
                _check_input(standing[sublayer])
                found.append(Linear(sublayer))
            found.append(Bias(adapters.get(sublayer, "bias")))
    return found


def _check_input(adapter: Adapter) -> None:
    if adapter.input != "normed":
        raise UnsupportedError(
            f"the {adapter.kind} adapter of {adapter.name} reads the residual stream as it is, but "
            "llama.cpp computes matrices only after a norm: recover with input='normed', or export "
            "with format='hf'"
        )
