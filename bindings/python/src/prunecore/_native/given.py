# SPDX-License-Identifier: Apache-2.0
"""Checks of lists and mappings that callers give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prunecore._native.paths import shown
from prunecore.errors import ArgumentError


def listed(name: str, given: Any) -> list[Any]:
    """The entries of what a caller gave as a list. Raises `ArgumentError` if it is none."""
    if not isinstance(given, (str, bytes)) and isinstance(given, Iterable):
        try:
            return list(given)
        except TypeError:  # an array without dimensions
            pass
    raise ArgumentError(f"{name} is {shown(given)}, but must be a list")


def mapped(name: str, given: Any) -> dict[Any, Any]:
    """What a caller gave as a mapping; none for None. Raises `ArgumentError` if it is none."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ArgumentError(f"{name} is {shown(given)}, but must be a mapping")
    return dict(given)
