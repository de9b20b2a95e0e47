# SPDX-License-Identifier: Apache-2.0
"""Checks that calls on models and data are given these."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

from prunecore._native.paths import shown
from prunecore.data.data import Data
from prunecore.errors import ArgumentError, ContextWarning
from prunecore.opened import OpenModel

Verb = TypeVar("Verb", bound=Callable[..., Any])

_KINDS: dict[str, tuple[type[Any], str]] = {
    "Data": (Data, "Data, such as of Data.from_text"),
    "Model": (OpenModel, "a model, such as of prunecore.open"),
    "OpenModel": (OpenModel, "a model, such as of prunecore.open"),
}


def verb(function: Verb) -> Verb:
    """Decorates a call: `ArgumentError` names a parameter that is declared as data or a model.

    Without it, the first use of a missing attribute would raise, and name that.
    """
    signature = inspect.signature(function)
    checked: dict[str, tuple[type[Any], str, bool]] = {}
    for name, parameter in signature.parameters.items():
        kind, _, other = str(parameter.annotation).partition(" | ")
        if kind in _KINDS and name != "self":
            checked[name] = (*_KINDS[kind], other == "None")

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            given = signature.bind_partial(*arguments, **options).arguments
        except TypeError:  # a wrong keyword: the call itself says which
            given = {}
        for name, (kind, words, may_lack) in checked.items():
            value = given.get(name) if may_lack else given.get(name, _LEFT_OUT)
            if value is _LEFT_OUT or (may_lack and value is None) or isinstance(value, kind):
                continue
            raise ArgumentError(f"{name} is {shown(value)}, but must be {words}")
        _warn_of_context(given)
        return function(*arguments, **options)

    return cast(Verb, call)


def _warn_of_context(given: dict[str, Any]) -> None:
    """Warns of sequences, with what is generated after them, beyond the model's context."""
    model = given.get("self")
    context = model.shape.context_length if isinstance(model, OpenModel) else 0
    if context <= 0:  # a host that says nothing of it
        return
    more = given.get("max_new_tokens", 0)
    for data in given.values():
        if not isinstance(data, Data):
            continue
        longest = data.longest + (more if isinstance(more, int) else 0)
        if longest > context:
            warnings.warn(
                f"sequences of {longest} tokens are longer than the model's context of {context}: "
                "what is measured there is of positions that it was not made for",
                ContextWarning,
                stacklevel=3,
            )


_LEFT_OUT = object()
