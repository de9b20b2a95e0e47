# SPDX-License-Identifier: Apache-2.0
"""Checks of numbers that callers give, where C would read 0 as "the default".

Python says None for the default, so that a 0 is a fault and is told as one.
"""

from __future__ import annotations

import math
import operator
from typing import Any

from prunecore._native.paths import shown
from prunecore.errors import ArgumentError

_LARGEST = 2**63 - 1


def checked_count(name: str, value: Any, least: int = 1, most: int = _LARGEST) -> int:
    """A whole number from `least` to `most`."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise ArgumentError(f"{name} is {shown(value)}, but must be a whole number") from error
    if not least <= number <= most:
        bound = f"at least {least}" if most == _LARGEST else f"from {least} to {most}"
        raise ArgumentError(f"{name} is {shown(number)}, but must be {bound}")
    return number


def optional_count(name: str, value: Any) -> int:
    """A whole number of at least 1; 0 for None."""
    return 0 if value is None else checked_count(name, value)


def checked_positive(name: str, value: Any, below: float = math.inf) -> float:
    """A number above 0 and below `below`."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"{name} is {shown(value)}, but must be a number") from error
    if not 0 < number < below:
        bound = "a number above 0" if below == math.inf else f"above 0 and below {below:g}"
        raise ArgumentError(f"{name} is {number:g}, but must be {bound}")
    return number
