# SPDX-License-Identifier: Apache-2.0
"""Checks that calls on models and data are given these."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from prunecore._native.paths import shown
from prunecore.data.data import Data
from prunecore.errors import ArgumentError
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
        return function(*arguments, **options)

    return cast(Verb, call)


_LEFT_OUT = object()
