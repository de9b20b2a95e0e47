# SPDX-License-Identifier: Apache-2.0
"""Writes `names_generated.py`: the names of what the header numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from prunecore_header.items import EnumGroup, EnumValue
from prunecore_header.writing import assigned, bracketed, camel, heading, quoted


def names_module(groups: Iterable[EnumGroup]) -> str:
    """The module: for each enum group a Literal type of its names, and a table of its values."""
    wanted = [group for group in groups if group.type != "prune_status"]
    literals = "".join(
        bracketed(
            f"{camel(group.type)} = Literal[", [quoted(each.name) for each in group.named], "]"
        )
        for group in wanted
    )
    tables = "".join(_table(group) for group in wanted)
    return (
        heading("Names of what prunecore.h numbers.")
        + "from typing import Literal\n\n"
        + "from prunecore._native.names.choice import Choice\n\n"
        + literals
        + tables
    )


def constant(kind: str) -> str:
    """The table of a type: prune_adapter_kind has ADAPTER_KIND."""
    return kind.removeprefix("prune_").upper()


def _table(group: EnumGroup) -> str:
    name = constant(group.type)
    return (
        f"\n{name}: Choice[{camel(group.type)}] = Choice(\n"
        + f"    {quoted(_called(group))},\n"
        + _numbers("values", group.named)
        + _numbers("special", group.special)
        + "    texts={\n"
        + "".join(assigned(8, quoted(each.name), each.text, ": ") for each in group.values)
        + "    },\n)\n"
    )


def _called(group: EnumGroup) -> str:
    """What errors call one name of the group: "metric" for prune_metrics."""
    words = group.type.removeprefix("prune_").replace("_", " ")
    return re.sub("ies$", "y", words).removesuffix("s") if group.is_bit_set else words


def _numbers(name: str, values: Iterable[EnumValue]) -> str:
    entries = [f"{quoted(each.name)}: {each.value}" for each in values]
    if not entries:
        return f"    {name}={{}},\n"
    return f"    {name}={{\n" + "".join(f"        {entry},\n" for entry in entries) + "    },\n"
