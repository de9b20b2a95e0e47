# SPDX-License-Identifier: Apache-2.0
"""One of several names, each of which the C header has a number for."""

from __future__ import annotations

from typing import Generic, TypeVar

from prunecore._raw_generated import ffi
from prunecore.errors import ArgumentError

Name = TypeVar("Name", bound=str)


class Choice(Generic[Name]):
    """The names that an option allows, and the header's numbers for them.

    Parameters
    ----------
    what : str
        What errors call it: "granularity".
    group : str
        Of the header's constants: "GRANULARITY" for PRUNE_GRANULARITY_BLOCK and its like.
    names : tuple of str
        What is allowed: the constants' ends in lower case.
    default : str, optional
        One more name, of the constant that leaves the choice to the library.
    unset : str, optional
        Names the constant that stands for None. Default: None is refused.
    """

    def __init__(
        self,
        what: str,
        group: str,
        names: tuple[Name, ...],
        *,
        default: Name | None = None,
        unset: str | None = None,
    ) -> None:
        self.what = what
        self.names = names
        self._group = group
        self._allowed = names if default is None else (*names, default)
        self._unset = unset

    def __repr__(self) -> str:
        return f"Choice({self.what!r}, {self.names})"

    def parse(self, given: object) -> Name:
        """Reads a name; "feed-forward" counts as "feed_forward".

        Raises
        ------
        ArgumentError
            There is no such name; the text lists them.
        """
        wanted = str(given).strip().replace("-", "_")
        for name in self._allowed:
            if name == wanted:
                return name
        known = f"{', '.join(self._allowed[:-1])} or {self._allowed[-1]}"
        raise ArgumentError(f"{self.what} is '{given}', but must be {known}")

    def value(self, given: object) -> int:
        """The header's number for a name."""
        if given is None and self._unset is not None:
            return self._constant(self._unset)
        return self._constant(self.parse(given))

    def name(self, value: int) -> Name:
        """The name that one of the header's numbers stands for."""
        return next(name for name in self.names if self._constant(name) == value)

    def _constant(self, name: str) -> int:
        return int(ffi.integer_const(f"PRUNE_{self._group}_{name.upper()}"))
