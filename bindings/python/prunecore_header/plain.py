# SPDX-License-Identifier: Apache-2.0
"""The plain options of a struct: numbers, choices and switches, with what their comments say.

A comment is text for the reader, then sentences of the form `0 = TEXT.` and `-1 = TEXT.` that say
what these values stand for. A text that begins with "Whether" is that of a switch. Everything else
in a struct of options (pointers and their lengths, callbacks, bit sets, other structs) is not
plain, and written by hand in Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from prunecore_header.items import EnumGroup, Field, Struct
from prunecore_header.preprocessing import HeaderError

_MEANING = re.compile(r"(?:^|(?<=\s))(?=(?:-1|0|NULL) = )")
_NOT_OPTIONS = ("struct_size", "reserved", "user_data")


@dataclass(frozen=True)
class PlainField:
    """One plain option.

    Attributes
    ----------
    name : str
        Its name in C, and in Python.
    kind : str
        "count" (a whole number), "number" (a real one), "seed", "switch" or "choice".
    group : str
        Of a choice: the type of its enum group.
    text : str
        What it is, without what its special values stand for.
    default : str
        What 0 stands for; of a choice the name of that value.
    minus_one : str
        What -1 stands for; "" if nothing.
    given_as : str
        How Python gives what is -1 in C: "" (not at all), "0", "inf" or "auto".
    """

    name: str
    kind: str
    group: str
    text: str
    default: str
    minus_one: str
    given_as: str


def plain_fields(struct: Struct, groups: Iterable[EnumGroup]) -> tuple[PlainField, ...]:
    """The plain options of a struct, in its order."""
    known = {group.type: group for group in groups}
    pointers = {field.name for field in struct.fields if field.type.endswith("*")}
    found = []
    for field in struct.fields:
        length_of = field.name.removeprefix("n_") if field.name.startswith("n_") else None
        if field.name not in _NOT_OPTIONS and length_of not in pointers:
            made = _plain_field(struct, field, known)
            if made is not None:
                found.append(made)
    return tuple(found)


def _plain_field(struct: Struct, field: Field, groups: dict[str, EnumGroup]) -> PlainField | None:
    where = f"{struct.type}.{field.name}"
    if field.type.endswith(("*", "_fn", "_options")):
        return None
    text, meanings = read_comment(where, field.text)
    group = groups.get(field.type)
    if group is not None:
        if group.is_bit_set:
            return None
        zero = next((value.name for value in group.values if value.value == 0), None)
        if zero is None:
            raise HeaderError(f"{where}: no value of {group.type} is 0, the default")
        return PlainField(field.name, "choice", group.type, _said(where, text), zero, "", "")
    if field.type == "uint64_t" and field.name == "seed":
        kind = "seed"
    elif field.type in ("int32_t", "int64_t", "size_t"):
        kind = "switch" if text.startswith("Whether ") else "count"
    elif field.type == "double":
        kind = "number"
    else:
        raise HeaderError(f"{where}: an option of type {field.type} is not understood")
    minus_one = meanings.get("-1", "")
    given_as = _given_as(where, kind, minus_one) if minus_one else ""
    default = meanings.get("0", "")
    return PlainField(field.name, kind, "", _said(where, text), default, minus_one, given_as)


def read_comment(where: str, comment: str) -> tuple[str, dict[str, str]]:
    """The text of a comment, and what special values stand for: {"0": "chosen by the library"}.

    What follows the sentences on special values is for C alone.
    """
    text, *sentences = (part.strip() for part in _MEANING.split(comment))
    meanings: dict[str, str] = {}
    for sentence in sentences:
        value, _, rest = sentence.partition(" = ")
        meaning = re.match(r"(.+?)\.(?=\s|$)", rest)
        if meaning is None:
            raise HeaderError(f"{where}: '{sentence}' does not end with a full stop")
        if value in meanings:
            raise HeaderError(f"{where}: '{value} = ' is said twice")
        meanings[value] = meaning.group(1)
    return text, meanings


def _given_as(where: str, kind: str, meaning: str) -> str:
    if re.match(r"(no|none)\b", meaning):
        return "0" if kind == "count" else "inf"
    if kind == "count" and re.match(r"(chosen|automatic)\b", meaning):
        return "auto"
    raise HeaderError(
        f"{where}: '-1 = {meaning}' is not understood; begin with 'no', 'none' or 'chosen'"
    )


def _said(where: str, text: str) -> str:
    if not text:
        raise HeaderError(f"{where} has no comment that says what it is")
    return text
