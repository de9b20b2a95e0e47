# SPDX-License-Identifier: Apache-2.0
"""A group of names for what the header numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar, cast

from prunecore.errors import ArgumentError

Name = TypeVar("Name", bound=str)


class Choice(Generic[Name]):
    """The names of one enum group of the header."""

    def __init__(
        self,
        *,
        what: str,
        values: Mapping[Name, int],
        special: Mapping[str, int],
        texts: Mapping[str, str],
    ) -> None:
        self.what = what
        self.values = dict(values)
        self.special = dict(special)
        self.texts = dict(texts)

    @property
    def names(self) -> tuple[Name, ...]:
        return tuple(self.values)

    def parse(self, name: object, option: str | None = None) -> Name:
        wanted = str(name).strip().replace("-", "_")
        if wanted in self.values or wanted in self.special:
            return cast(Name, wanted)
        known = [*self.values, *self.special]
        allowed = f"{', '.join(known[:-1])} or {known[-1]}"
        raise ArgumentError(f"{option or self.what} is '{name}', but must be {allowed}")

    def value(self, name: str) -> int:
        return self.values.get(cast(Name, name), self.special.get(name, 0))

    def name(self, value: int) -> Name:
        return next(name for name, each in self.values.items() if each == value)
