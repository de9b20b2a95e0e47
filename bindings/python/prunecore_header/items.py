# SPDX-License-Identifier: Apache-2.0
"""The header's enum groups and option structs, with their comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prunecore_header.preprocessing import HeaderError, declarations, evaluate_integer

SPECIAL_NAMES = ("default", "automatic")
"""Values that stand for another one: a name that callers may give, but that is never reported."""


@dataclass(frozen=True)
class EnumValue:
    """One value of an enum group: its name in lower case without the group's prefix."""

    name: str
    value: int
    text: str


@dataclass(frozen=True)
class EnumGroup:
    """A typedef and the enum that follows it."""

    type: str
    underlying: str
    values: tuple[EnumValue, ...]

    @property
    def is_bit_set(self) -> bool:
        """Whether the values are bits, several of which make one number."""
        return self.underlying.startswith("u")

    @property
    def named(self) -> tuple[EnumValue, ...]:
        """The values that stand for themselves: no defaults, and no bits that stand for several."""
        if self.is_bit_set:
            return tuple(each for each in self.values if each.name.split("_")[0] != "all")
        return tuple(each for each in self.values if each.name not in SPECIAL_NAMES)

    @property
    def special(self) -> tuple[EnumValue, ...]:
        """The values that stand for others."""
        return tuple(each for each in self.values if each not in self.named)


@dataclass(frozen=True)
class Field:
    """One field of a struct: `type` is as in C, with a `*` for a pointer."""

    type: str
    name: str
    text: str


@dataclass(frozen=True)
class Struct:
    """A struct of options."""

    type: str
    fields: tuple[Field, ...]


def enum_groups(header: str) -> tuple[EnumGroup, ...]:
    """The enums that have a type: `typedef int32_t NAME;` directly before `enum {`."""
    found = []
    pattern = re.compile(r"^typedef (u?int\d+_t) (prune_\w+);\s*enum \{(.*?)^\};", re.M | re.S)
    for match in pattern.finditer(header):
        underlying, kind, body = match.groups()
        known: dict[str, int] = {}
        texts: dict[str, str] = {}
        for declaration, text in _declarations(body, ","):
            value = re.fullmatch(r"(PRUNE_\w+)\s*=\s*(.+)", declaration, re.S)
            if value is None:
                raise HeaderError(f"{kind}: '{declaration}' is not NAME = VALUE")
            known[value.group(1)] = evaluate_integer(value.group(2), known)
            texts[value.group(1)] = text
        found.append(EnumGroup(kind, underlying, _named_values(kind, known, texts)))
    return tuple(found)


def _named_values(kind: str, known: dict[str, int], texts: dict[str, str]) -> tuple[EnumValue, ...]:
    if len(known) < 2:
        raise HeaderError(f"{kind} has too few values to say what their common prefix is")
    first, last = min(known).split("_"), max(known).split("_")
    n_same = next(i for i, word in enumerate(first) if [word] != last[i : i + 1])
    prefix = "_".join([*first[:n_same], ""])
    return tuple(
        EnumValue(name.removeprefix(prefix).lower(), value, texts[name])
        for name, value in known.items()
    )


def option_structs(header: str) -> tuple[Struct, ...]:
    """The structs whose name ends with `_options`, in the header's order."""
    declarations(header)  # refuses a header that cannot be read at all
    found = []
    pattern = re.compile(r"^typedef struct (prune_\w+_options) \{(.*?)^\} \1;", re.M | re.S)
    for match in pattern.finditer(header):
        kind, body = match.groups()
        fields = []
        for declaration, text in _declarations(body, ";"):
            field = re.fullmatch(r"(?:const )?(\w+)\s*(\**)\s*(\w+)", declaration)
            if field is None:
                raise HeaderError(f"{kind}: '{declaration}' is not a field that is understood")
            fields.append(Field(field.group(1) + field.group(2), field.group(3), text))
        found.append(Struct(kind, tuple(fields)))
    return tuple(found)


def _declarations(body: str, end: str) -> Iterator[tuple[str, str]]:
    """Each declaration with its comment: the last before it, or the one behind it on its line."""
    token = re.compile(r"/\*(.*?)\*/|([^/]+?)(?:" + end + r"|\s*(?=/\*)|\s*\Z)", re.S)
    place, above = 0, ""
    pending: tuple[str, str] | None = None
    body = body.rstrip()
    while place < len(body):
        spaces = re.compile(r"\s*").match(body, place)
        assert spaces is not None
        found = token.match(body, spaces.end())
        if found is None:
            rest = body[spaces.end() :].split("\n")[0]
            raise HeaderError(f"neither a declaration nor a comment: {rest}")
        place = found.end()
        if found.group(1) is None:
            if pending is not None:
                yield pending
            # A comment may stand between the last declaration of an enum and its end.
            pending, above = (" ".join(found.group(2).split()), above), ""
        elif pending is not None and "\n" not in spaces.group():
            yield pending[0], _words(found.group(1))
            pending = None
        else:
            above = _words(found.group(1))
    if pending is not None:
        yield pending


def _words(comment: str) -> str:
    """A comment as one line of text, without the stars that may begin its lines."""
    lines = [re.sub(r"^\s*\*(?!\w)\s?", "", line) for line in comment.split("\n")]
    return " ".join(" ".join(lines).split())
