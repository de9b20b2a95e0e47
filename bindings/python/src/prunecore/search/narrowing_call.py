# SPDX-License-Identifier: Apache-2.0
"""What a caller of `Model.search` asks of the strategies that narrow feed-forwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prunecore._native.names.tables import GRANULARITY, MEASURE
from prunecore.errors import ArgumentError
from prunecore.search.narrowing_options import NARROWINGS, Narrowing, NarrowingOptions
from prunecore.search.options import Protected


@dataclass(frozen=True, kw_only=True)
class NarrowingCall:
    """What a caller asks of "2ssp" or "narrow", beside the options of `NarrowingOptions`.

    Attributes
    ----------
    strategy : {"2ssp", "narrow"}
        Which of the two.
    parameter_bytes : int or None
        Bytes of parameters at most.
    remove_attention : int or None
        2ssp: attention sublayers to remove, instead of the formula's number.
    whole_blocks : bool
        narrow: whether sublayers go by whole blocks only.
    protect : names or indices
        Sublayers that stay as they are.
    batch_tokens : int or None
        As for `Model.damages`.
    """

    strategy: Narrowing
    parameter_bytes: int | None = None
    remove_attention: int | None = None
    whole_blocks: bool = False
    protect: Protected = None
    batch_tokens: int | None = None


def asked_narrowing(
    strategy: str,
    granularity: str,
    measure: str,
    protect: Protected,
    neuron_metric: str | None,
    options: Mapping[str, Any],
    others: Mapping[str, Any],
) -> tuple[NarrowingCall, NarrowingOptions] | None:
    """What a call of `Model.search` asks for, if its strategy is one that narrows; else None.

    Parameters
    ----------
    options : mapping
        The plain options of the call.
    others : mapping
        What it was given besides, which is for other strategies.

    Raises
    ------
    ArgumentError
        An option is of strategies of the other kind.
    """
    narrowing = NarrowingOptions(neuron_metric=neuron_metric, **NarrowingOptions.pick(options))
    kind = _narrowing_of(strategy)
    if kind is None:
        narrowing.refuse(strategy)
        return None
    foreign = {name: value for name, value in options.items() if name not in _OF_NARROWING}
    call = _narrowing_call(kind, granularity, measure, protect, options, {**foreign, **others})
    return call, narrowing


_OF_NARROWING = (
    *NarrowingOptions.OPTIONS,
    *("parameter_bytes", "remove_attention", "batch_tokens"),
)
"""Options that "2ssp" and "narrow" take."""


def _narrowing_of(strategy: str) -> Narrowing | None:
    """The strategy if it is one that narrows feed-forwards."""
    name = str(strategy).strip().lower()
    return next((own for own in NARROWINGS if own == name), None)


def _narrowing_call(
    strategy: Narrowing,
    granularity: str,
    measure: str,
    protect: Protected,
    options: Mapping[str, Any],
    others: Mapping[str, Any],
) -> NarrowingCall:
    """What is asked of a strategy that narrows. Raises `ArgumentError` for options of others."""
    unit = GRANULARITY.parse(granularity)
    kinds = ("sublayer", "block") if strategy == "narrow" else ("sublayer",)
    if unit not in kinds:
        raise ArgumentError(f"granularity is {unit}, but {strategy} takes {' or '.join(kinds)}")
    if MEASURE.parse(measure) != "loss":
        raise ArgumentError(f"measure is {measure}, but {strategy} goes by the loss")
    for name, value in others.items():
        if value not in (None, False, 0):
            raise ArgumentError(f"{name} is no option of {strategy}")
    return NarrowingCall(
        strategy=strategy,
        parameter_bytes=options.get("parameter_bytes"),
        remove_attention=options.get("remove_attention"),
        whole_blocks=unit == "block",
        protect=protect,
        batch_tokens=options.get("batch_tokens"),
    )
