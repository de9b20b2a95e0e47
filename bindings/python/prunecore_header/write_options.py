# SPDX-License-Identifier: Apache-2.0
"""Writes `options_generated.py`: the plain options of every struct of options."""

from __future__ import annotations

from collections.abc import Iterable

from prunecore_header.items import EnumGroup, Struct
from prunecore_header.plain import PlainField, plain_fields
from prunecore_header.write_names import constant
from prunecore_header.writing import assigned, camel, heading, quoted

HAND_WRITTEN = {
    "prune_coalition_options": ("cap",),  # None is not a cap there, and each call has a default
    "prune_export_options": ("format",),  # Python writes formats that C does not
}
"""Plain options that are nevertheless written by hand."""

PARAMETERS = {
    "prune_score_options": ("granularity",),
    "prune_coalition_options": ("measure",),
    "prune_search_options": ("strategy", "granularity"),
    "prune_game_options": ("estimator",),
    "prune_game_run_options": ("granularity",),
    "prune_recover_options": ("kind", "rank", "objective"),
    "prune_share_options": ("rank", "bytes", "objective"),
    "prune_generate_options": ("max_new_tokens",),
}
"""Options that Python's calls take as parameters of their own, before `**options`."""

_TYPES = {"count": "int", "number": "float", "seed": "int", "switch": "bool"}


def options_module(structs: Iterable[Struct], groups: Iterable[EnumGroup]) -> str:
    """The module: for each struct a dataclass of its plain options, and a dict type of them."""
    known = tuple(groups)
    found = {}
    for struct in structs:
        left_out = HAND_WRITTEN.get(struct.type, ())
        fields = [each for each in plain_fields(struct, known) if each.name not in left_out]
        if fields:
            found[struct.type] = fields
    used = {field.group for fields in found.values() for field in fields if field.group}
    imports = sorted([*(constant(kind) for kind in used), *(camel(kind) for kind in used)])
    # Constants come before classes, as import sorters have it.
    imports.sort(key=lambda name: (not name.isupper(), name))
    return (
        heading("The plain options of the structs of prunecore.h.")
        + "from dataclasses import dataclass\n"
        + "from typing import ClassVar, Literal, TypedDict\n\n"
        + "from prunecore._native.names_generated import (\n"
        + "".join(f"    {name},\n" for name in imports)
        + ")\n"
        + "from prunecore._native.options import Option, Options\n"
        + "".join(_classes(kind, fields, known) for kind, fields in found.items())
    )


def _classes(kind: str, fields: list[PlainField], groups: tuple[EnumGroup, ...]) -> str:
    name = camel(kind)
    special = {group.type: [each.name for each in group.special] for group in groups}
    types = {field.name: _type(field, special) for field in fields}
    arguments = [field for field in fields if field.name not in PARAMETERS.get(kind, ())]
    made = (
        f"\n\n@dataclass(frozen=True, kw_only=True)\nclass {name}(Options):\n"
        f'    """The plain options of {kind}."""\n\n'
        f'    STRUCT: ClassVar[str] = "{kind}"\n'
        "    OPTIONS: ClassVar[dict[str, Option]] = {\n"
        + "".join(_option(field) for field in fields)
        + "    }\n\n"
        + "".join(_declared(field, types[field.name]) for field in fields)
    )
    if arguments:
        made += (
            f"\n\nclass {name.removesuffix('Options')}Arguments(TypedDict, total=False):\n"
            f'    """The options of `{name}` as keyword arguments."""\n\n'
            + "".join(f"    {field.name}: {types[field.name]}\n" for field in arguments)
        )
    return made


def _type(field: PlainField, special: dict[str, list[str]]) -> str:
    if field.kind == "choice":
        others = [name for name in special[field.group] if name != "automatic"]
        literal = f" | Literal[{', '.join(map(quoted, others))}]" if others else ""
        return camel(field.group) + literal + (" | None" if field.default == "automatic" else "")
    auto = ' | Literal["auto"]' if field.given_as == "auto" else ""
    optional = "" if field.kind in ("seed", "switch") else " | None"
    return _TYPES[field.kind] + auto + optional


def _declared(field: PlainField, type_: str) -> str:
    value = {"seed": "0", "switch": "False"}.get(field.kind, "None")
    if field.kind == "choice" and field.default != "automatic":
        value = quoted(field.default)
    return f"    {field.name}: {type_} = {value}\n"


def _option(field: PlainField) -> str:
    lines = assigned(12, "kind", field.kind)
    if field.group:
        lines += f"            group={constant(field.group)},\n"
    lines += assigned(12, "text", field.text)
    for name in ("default", "minus_one", "given_as"):
        if getattr(field, name):
            lines += assigned(12, name, getattr(field, name))
    return f'        "{field.name}": Option(\n{lines}        ),\n'
