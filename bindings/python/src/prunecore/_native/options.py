# SPDX-License-Identifier: Apache-2.0
"""What the generated classes of options have in common: checks, and the way into C's structs.

The library takes 0 for "the default". Python says None for that, so that a 0 is either a value of
its own, written as -1 in C, or a mistake, and refused as one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from prunecore._native.library import new_struct
from prunecore._native.names.choice import Choice
from prunecore._native.numbers import checked_count, checked_positive
from prunecore._native.paths import shown
from prunecore.errors import ArgumentError


@dataclass(frozen=True)
class Option:
    """What prunecore.h says about one plain option.

    Attributes
    ----------
    kind : str
        "count" (a whole number), "number", "seed", "switch" or "choice".
    text : str
        What the option is.
    group : Choice or None
        The names of a choice.
    default : str
        What leaving the option out stands for; "" if nothing is said.
    minus_one : str
        What -1 stands for in C; "" if nothing.
    given_as : str
        How callers give what is -1 in C: "0", "inf", "auto" or "" (not at all).
    """

    kind: str
    text: str
    group: Choice[Any] | None = None
    default: str = ""
    minus_one: str = ""
    given_as: str = ""

    @property
    def help(self) -> str:
        """The first sentence of the text."""
        return re.split(r"(?<=\.)\s+(?=[A-Z`\"])", self.text, maxsplit=1)[0]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The plain options of one struct: the generated classes derive from it."""

    STRUCT: ClassVar[str] = ""
    OPTIONS: ClassVar[dict[str, Option]] = {}
    ZEROS: ClassVar[frozenset[str]] = frozenset()
    """Options of which a 0 is a value, and the same as leaving them out."""

    @classmethod
    def pick(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of `given` that are options of this class."""
        names = {field.name for field in fields(cls)}
        return {name: value for name, value in given.items() if name in names}

    def new(self) -> Any:
        """The struct, with all plain options written into it."""
        struct = new_struct(self.STRUCT)
        self.fill(struct)
        return struct

    def fill(self, struct: Any) -> None:
        """Writes the plain options into a struct of C.

        Raises
        ------
        ArgumentError
            One is out of range, or has a value that C would take for the default.
        """
        for name in self.OPTIONS:
            try:
                setattr(struct, name, self.in_c(name))
            except OverflowError as error:  # of an option that is 32 bits wide
                raise ArgumentError(f"{name} is {getattr(self, name)}: too large") from error

    def in_c(self, name: str) -> int | float:
        """An option as C takes it."""
        option, value = self.OPTIONS[name], getattr(self, name)
        if option.group is not None:
            return option.group.value(self.normal(name))
        if value is None:
            return 0
        if hasattr(value, "ndim") and value.ndim > 0:
            raise ArgumentError(f"{name} is {shown(value)}, but must be a number")
        if name in self.ZEROS and value == 0:
            return 0
        if (option.given_as, value) in (("auto", "auto"), ("inf", math.inf)):
            return -1
        match option.kind:
            case "seed":
                number = checked_count(name, value, 0, 2**64 - 1)
            case "switch":
                number = int(bool(value))
            case "count":
                number = checked_count(name, value, 0 if option.given_as == "0" else 1) or -1
            case _:
                return checked_positive(name, value)
        return number

    def normal(self, name: str) -> Any:
        """An option as records hold it: a choice by the name that the header has for it."""
        option, value = self.OPTIONS[name], getattr(self, name)
        if option.group is None or value is None:
            return value
        return option.group.parse(value, name)

    def to_dict(self) -> dict[str, Any]:
        """The plain options, for JSON."""
        return {name: self.normal(name) for name in self.OPTIONS}
