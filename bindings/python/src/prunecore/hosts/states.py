# SPDX-License-Identifier: Apache-2.0
"""States of a host that the library holds: numbers for C, objects for Python."""

from __future__ import annotations

import itertools
from typing import Any

from prunecore.errors import InternalError


class StateTable:
    """The states that are alive: each has a number, which is its handle in C, and its tokens.

    An object that comes twice gets two numbers, so that each is released on its own.
    Dictionaries and counters do one thing at a time whatever the threads: no lock is needed.
    """

    def __init__(self) -> None:
        self._states: dict[int, tuple[Any, int]] = {}
        self._numbers = itertools.count(1)  # 0 is NULL, which is not a state

    def __len__(self) -> int:
        return len(self._states)

    def add(self, state: Any, n_tokens: int, given: list[int]) -> int:
        """Takes a state in.

        Parameters
        ----------
        given : list
            Receives the number before anything refers to it: whoever is interrupted after that can
            drop what was given.
        """
        number = next(self._numbers)
        given.append(number)
        self._states[number] = state, n_tokens
        return number

    def find(self, number: int) -> tuple[Any, int]:
        """The state of a number, and how many tokens it has."""
        try:
            return self._states[number]
        except KeyError:
            raise InternalError(f"the library uses state {number}, which is not alive") from None

    def drop(self, number: int) -> None:
        """Releases a state; one that was released before is left alone."""
        self._states.pop(number, None)
