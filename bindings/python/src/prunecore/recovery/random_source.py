# SPDX-License-Identifier: Apache-2.0
"""The library's random numbers, in Python, for loops that Python runs."""

from __future__ import annotations

_WORD = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


class RandomSource:
    """SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), named by a seed and a stream.

    The numbers are those of the library's own source of that seed and stream.

    Parameters
    ----------
    seed, stream : int
        From 0 to 2^64 - 1.
    """

    def __init__(self, seed: int, stream: int) -> None:
        self._state = _mix((seed + _STEP) & _WORD) ^ _mix((stream + 0xD1B54A32D192ED03) & _WORD)

    def next(self) -> int:
        """64 random bits."""
        self._state = (self._state + _STEP) & _WORD
        return _mix(self._state)

    def index(self, below: int) -> int:
        """A whole number from 0 to `below` - 1, each with the same probability."""
        # Lemire's multiplication, with rejection of the part that would favour small numbers.
        product = self.next() * below
        if product & _WORD < below:
            threshold = (1 << 64) % below
            while product & _WORD < threshold:
                product = self.next() * below
        return product >> 64

    def permutation(self, count: int) -> list[int]:
        """0 to `count` - 1 in random order (Fisher and Yates)."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            chosen = self.index(last + 1)
            order[last], order[chosen] = order[chosen], order[last]
        return order


def _mix(value: int) -> int:
    z = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    return z ^ (z >> 31)
