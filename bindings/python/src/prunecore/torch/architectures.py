# SPDX-License-Identifier: Apache-2.0
"""How decoder layers of transformers are made of two sublayers: which modules do what.

The core's table of families says it; here it is read for the modules in memory. Only what a decoder
layer does is in it. Embeddings, positions, masks, final norm and head are run by the model's own
code; see `Decoder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from prunecore._native.architectures import architecture_table


@dataclass(frozen=True)
class Part:
    """One sublayer: hidden + scale * after(modules(before(source))), by modules in the layer.

    Attributes
    ----------
    modules : tuple of str
        Run one after the other.
    besides : tuple of str
        Others that read what those read, and whose results are added to theirs.
    before : str or None
        Norm of the input; None = there is none.
    after : str or None
        Norm of the update, before it is added.
    last : str or None
        Norm of the sum: where the sublayer is removed, it norms what it finds.
    shared_norm : str or None
        `before`, where the other sublayer reads it, too: it belongs to neither of them.
    adds_input : bool
        Whether the last module takes the hidden state, too, and gives the sum.
    """

    modules: tuple[str, ...]
    besides: tuple[str, ...] = ()
    before: str | None = None
    after: str | None = None
    last: str | None = None
    shared_norm: str | None = None
    adds_input: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The modules of the layer that go with the sublayer."""
        norms = (self.before, self.after)
        own = (name for name in norms if name is not None and name != self.shared_norm)
        return (*self.modules, *self.besides, *own)


@dataclass(frozen=True)
class Parts:
    """The two sublayers of a decoder layer.

    Attributes
    ----------
    attention, feed_forward : Part
        The attention has one module, which takes what the layer is called with.
    parallel : bool
        Whether the feed-forward reads what the attention read, the input of the block. Where the
        attention is removed, and where an adapter stands in its place, it reads the hidden state
        that it finds.
    norm : {"rms", "layer"}
        The formula of the norms.
    norm_offset : float
        What the model's norms add to their weight: 1 in the Gemma family.
    update_scale : float
        On what both sublayers add.
    """

    attention: Part
    feed_forward: Part
    parallel: bool = False
    norm: str = "rms"
    norm_offset: float = 0.0
    update_scale: float = 1.0

    @property
    def norm_sums(self) -> bool:
        """Whether norms stay behind where sublayers are removed."""
        return self.attention.last is not None or self.feed_forward.last is not None

    def of(self, sublayer: int) -> Part:
        """The part of a sublayer, by its index in the model or in the block."""
        return self.feed_forward if sublayer % 2 else self.attention


def parts_of(layer: nn.Module, config: Any) -> Parts | None:
    """How a decoder layer is made; None if it is not known, so that whole blocks are the units.

    Parameters
    ----------
    layer : Module
        Any of the model's decoder layers.
    config : PreTrainedConfig
        Of the decoder.
    """
    row = architecture_table().get(type(layer).__name__)
    if row is None or any(getattr(config, key, False) for key in row["other_blocks_if"]):
        return None
    norms_before = bool(_setting(row["norms_before"], config))
    attention = _part(row["attention"], layer, norms_before)
    feed_forward = _part(row["feed_forward"], layer, norms_before)
    parallel = bool(_setting(row["is_parallel"], config))
    if parallel and row["shares_parallel_norm"] and feed_forward.before is None:
        shared = attention.before
        attention = replace(attention, shared_norm=shared)
        feed_forward = replace(feed_forward, before=shared, shared_norm=shared)
    if not all(_has(layer, name) for name in (*attention.names, *feed_forward.names)):
        return None  # of another class with that name
    return Parts(
        attention,
        feed_forward,
        parallel=parallel,
        norm=row["norm"],
        norm_offset=float(row["norm_offset"]),
        update_scale=float(_setting(row["update_scale"], config)),
    )


def _part(names: Mapping[str, Any], layer: nn.Module, norms_before: bool) -> Part:
    """One sublayer of the table, as this layer has it."""
    instead, before = names["before_instead"], names["before"]
    norm = instead if _has(layer, instead) else before if _has(layer, before) else None
    return Part(
        modules=tuple(names["modules"]),
        besides=tuple(name for name in names["besides"] if _has(layer, name)),
        before=norm if norms_before else None,
        after=names["after"],
        last=None if norms_before else norm,
        adds_input=names["adds_input"],
    )


def _has(layer: nn.Module, name: str | None) -> bool:
    return name is not None and getattr(layer, name, None) is not None


def _setting(fact: Any, config: Any) -> Any:
    """A fact of the table, which a key of the configuration may decide."""
    return getattr(config, fact["key"], fact["missing"]) if isinstance(fact, Mapping) else fact
