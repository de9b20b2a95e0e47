# SPDX-License-Identifier: Apache-2.0
"""2SSP (arXiv 2501.17771): feed-forwards narrowed by neuron scores, then attention by loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prunecore._native.names.units import sublayer_name
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Keep
from prunecore.search.block_parameters import BlockParameters
from prunecore.search.narrowed_model import Narrowed, NarrowingRun

if TYPE_CHECKING:
    from prunecore.data.data import Data

Step = Callable[[Narrowed, str, float], None]
"""Told of each step: what is left after it, its name, and the loss."""


@dataclass(frozen=True)
class Split:
    """How a sparsity is split between the two stages.

    Attributes
    ----------
    attention : int
        Attention sublayers that are removed.
    width : int
        Neurons of every feed-forward that stay.
    """

    attention: int
    width: int


def split_sparsity(
    blocks: Sequence[BlockParameters],
    whole: int,
    sparsity: float,
    *,
    alpha: float,
    attention: int | None = None,
    multiple_of: int = 1,
) -> Split:
    """The split of section 3.3: attention by a power of the sparsity, feed-forwards the rest.

    Parameters
    ----------
    blocks : sequence of BlockParameters
        Of the model, all alike.
    whole : int
        Parameters of all blocks, norms among them.
    sparsity : float
        Share of `whole` that is to go.
    alpha : float
        What the exponent is divided by.
    attention : int, optional
        Attention sublayers to remove. Default: n_blocks * sparsity^((|FFN| / |attention|) / alpha).
    multiple_of : int
        The width is rounded down to a multiple of it.

    Raises
    ------
    ArgumentError
        Blocks differ, or no split reaches the sparsity; the text says why.
    """
    first = blocks[0]
    for number, block in enumerate(blocks):
        if block != first:
            raise ArgumentError(
                f"2ssp splits a sparsity among blocks that are alike, but block {number} has other "
                "sizes than block 0: use strategy narrow"
            )
    count = len(blocks)
    if attention is None:
        power = (first.feed_forward / first.attention) / alpha
        attention = round(count * sparsity**power)
    if attention > count:
        raise ArgumentError(f"remove_attention is {attention}, but the model has {count} blocks")
    by_attention = attention * first.attention
    if by_attention / whole > sparsity:
        raise ArgumentError(
            f"removing {attention} attention sublayers takes {by_attention / whole:.1%} of the "
            f"parameters of all blocks, more than the sparsity of {sparsity:.1%}: remove fewer"
        )
    if (by_attention + count * first.feed_forward) / whole < sparsity:
        raise ArgumentError(
            f"the sparsity of {sparsity:.1%} cannot be reached by removing {attention} attention "
            f"sublayers and all neurons: remove more attention, by remove_attention or alpha"
        )
    goal = round(sparsity * whole)
    of_each = round((goal - by_attention) / count)
    width = round(first.width * (1 - of_each / first.feed_forward))
    width = min(width, first.width)
    if width < first.width:
        width -= width % multiple_of
    if width < 1:
        raise ArgumentError(
            f"the sparsity of {sparsity:.1%} leaves no neurons beside {attention} removed "
            "attention sublayers: remove more attention, by remove_attention or alpha"
        )
    return Split(attention, width)


def two_stage(
    run: NarrowingRun,
    split: Split,
    data: Data,
    spared: Keep,
    step: Step | None = None,
    metric: str | None = None,
) -> tuple[Narrowed, float]:
    """Narrows all feed-forwards to one width, then removes attention greedily by loss.

    Parameters
    ----------
    run : NarrowingRun
        Of a model that lacks nothing.
    split : Split
        How much of each goes.
    data : Data
        What the loss is measured on.
    spared : array of 0 and 1
        1 = never removed.
    step : callable, optional
        Told of each removal.
    metric : str, optional
        Score by which neurons stay. Default: that of the run.

    Returns
    -------
    state, loss
        What is left, and its loss on these data.
    """
    whole = run.whole()
    widths = tuple(split.width for _ in whole.widths)
    state = Narrowed(whole.keep, widths, metric or whole.metric)
    loss = run.loss(state, data)
    if step is not None:
        step(state, "neurons", loss)
    for _ in range(split.attention):
        left = [u for u in range(0, len(state.keep), 2) if state.keep[u] and not spared[u]]
        if not left:
            raise ArgumentError("protect leaves fewer attention sublayers than are to be removed")
        losses = run.losses(state, [state.without(u).keep for u in left], data)
        best = int(np.argmin(losses))
        state, loss = state.without(left[best]), float(losses[best])
        if step is not None:
            step(state, sublayer_name(left[best]), loss)
    return state, loss
