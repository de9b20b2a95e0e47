# SPDX-License-Identifier: Apache-2.0
"""One of several names, each of which the C header has a number for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from prunecore.errors import ArgumentError

Name = TypeVar("Name", bound=str)


class Choice(Generic[Name]):
    """The names that an option allows, and the header's numbers for them.

    Parameters
    ----------
    what : str
        What errors call it: "granularity".
    values : mapping
        The number of each name, in the header's order.
    special : mapping
        Names that leave the choice to the library, such as "default". They are allowed, and never
        reported.
    texts : mapping
        What the header says about each name.
    """

    def __init__(
        self,
        what: str,
        *,
        values: Mapping[Name, int],
        special: Mapping[Any, int],
        texts: Mapping[str, str],
    ) -> None:
        self.what = what
        self.names = tuple(values)
        self.special = dict(special)
        self.texts = dict(texts)
        self._numbers: dict[Name, int] = {**values, **special}

    def __repr__(self) -> str:
        return f"Choice({self.what!r}, {self.names})"

    @property
    def allowed(self) -> tuple[str, ...]:
        """All names that may be given; "automatic" is given as None."""
        return (*self.names, *(name for name in self.special if name != "automatic"))

    def parse(self, given: object, option: str | None = None) -> Name:
        """Reads a name; "feed-forward" counts as "feed_forward".

        Parameters
        ----------
        given : object
            What the caller gave.
        option : str, optional
            What errors call it. Default: what it is called in general.

        Raises
        ------
        ArgumentError
            There is no such name; the text lists them.
        """
        wanted = str(given).strip().replace("-", "_")
        allowed = self.allowed
        for name in self._numbers:
            if name == wanted and name in allowed:
                return name
        known = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
        raise ArgumentError(f"{option or self.what} is '{given}', but must be {known}")

    def value(self, given: object) -> int:
        """The header's number for a name; None is "automatic" where there is that."""
        if given is None and "automatic" in self.special:
            return int(self.special["automatic"])
        return self._numbers[self.parse(given)]

    def name(self, value: int) -> Name:
        """The name that one of the header's numbers stands for."""
        return next(name for name in self.names if self._numbers[name] == value)
