# SPDX-License-Identifier: Apache-2.0
"""Describes the binary interface of the C header, and compares it with the released one.

The description is JSON: the ABI version, each function with its result and parameters, each struct
with the type, offset and size of its fields (LP64), callbacks, enum values, and macros. Released
descriptions are kept in ``include/abi``, one file per ABI version.

    scripts/check-abi.py --out FILE     writes the description of the header
    scripts/check-abi.py --check        fails if something that was released has changed
    scripts/check-abi.py --release      writes the released description of the header's ABI version

Within an ABI version functions, structs, callbacks, enum values and macros may be added, fields may
be appended to structs that begin with ``struct_size``, and reserved fields may be put to use.
Anything else needs a higher ``PRUNE_ABI_VERSION``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bindings/python"))

from cffi import FFI  # noqa: E402
from prunecore_header.preprocessing import (  # noqa: E402
    declarations,
    evaluate_integer,
    real_macros,
)

Description = dict[str, Any]

# Structs without struct_size whose size callers say in another way: comparison_size of prune_host.
_SIZED_BY_CALLER = {"prune_comparison"}

_IDENTIFIER = r"[A-Za-z_]\w*"
# The version of the library grows within an ABI version, and the ABI version is compared by itself.
_VERSIONS = re.compile(r"PRUNE_VERSION_\w+|PRUNE_ABI_VERSION")


class _Header:
    """The declarations of a header, statement by statement."""

    def __init__(self, text: str) -> None:
        declared = declarations(text)
        self.ffi = FFI()
        self.ffi.cdef(declared)
        self.macros: dict[str, int | float] = {
            name: int(value)
            for name, value in re.findall(r"^#define (\w+) (-?\d+)$", declared, re.M)
        }
        self.macros |= real_macros(text)
        body = " ".join(re.sub(r"^#.*$", "", declared, flags=re.M).split())
        self.enums = re.findall(r"\benum \w*\s*\{([^}]*)\}", body)
        # Without bodies, so that each statement of what is left is one declaration.
        self.statements = [part.strip() for part in re.sub(r"\{[^{}]*\}", "", body).split(";")]
        self.numbers = {  # typedefs of integers, which are the same to the machine
            name: alias
            for statement in self.statements
            for alias, name in re.findall(rf"^typedef (u?int\d+_t) ({_IDENTIFIER})$", statement)
        }

    def type(self, text: str) -> str:
        """A type in one spelling, typedefs of integers resolved."""
        text = re.sub(_IDENTIFIER, lambda word: self.numbers.get(word[0], word[0]), text)
        return re.sub(r"\s*\*\s*", " *", re.sub(r"\s+", " ", text)).replace("* *", "**").strip()

    def parameters(self, text: str) -> list[dict[str, str]]:
        """Parameters of a function or callback: `(void)` has none."""
        if text.strip() in ("", "void"):
            return []
        found = []
        for parameter in text.split(","):
            match = re.fullmatch(rf"\s*(.*[\s*])({_IDENTIFIER})\s*", parameter)
            if match is None:
                raise SystemExit(f"parameter is not understood: {parameter}")
            found.append({"name": match[2], "type": self.type(match[1])})
        return found


def describe(text: str) -> Description:
    """The binary interface that a header declares."""
    header = _Header(text)
    functions: Description = {}
    callbacks: Description = {}
    structs: Description = {}
    function = re.compile(rf"(.*[\s*])({_IDENTIFIER})\s*\(([^()]*)\)")
    callback = re.compile(rf"typedef (.*?)\(\s*\*\s*({_IDENTIFIER})\s*\)\s*\(([^()]*)\)")
    for statement in header.statements:
        if match := callback.fullmatch(statement):
            into = callbacks
        elif (match := function.fullmatch(statement)) and not statement.startswith("typedef"):
            into = functions
        else:
            continue
        into[match[2]] = {
            "result": header.type(match[1]),
            "parameters": header.parameters(match[3]),
        }
    for name in header.ffi.list_types()[0]:
        kind = header.ffi.typeof(name)
        if kind.kind == "struct" and kind.fields is not None:
            fields = [
                {
                    "name": field,
                    "type": own.type.cname,
                    "offset": own.offset,
                    "size": header.ffi.sizeof(own.type),
                }
                for field, own in kind.fields
            ]
            structs[name] = {"size": header.ffi.sizeof(kind), "fields": fields}
    return {
        "abi_version": header.macros["PRUNE_ABI_VERSION"],
        "functions": dict(sorted(functions.items())),
        "structs": dict(sorted(structs.items())),
        "callbacks": dict(sorted(callbacks.items())),
        "enum_values": _enum_values(header),
        "macros": {
            name: value
            for name, value in sorted(header.macros.items())
            if not _VERSIONS.fullmatch(name)
        },
    }


def _enum_values(header: _Header) -> dict[str, int]:
    values: dict[str, int] = {}
    known = {name: value for name, value in header.macros.items() if isinstance(value, int)}
    for body in header.enums:
        following = 0
        for entry in filter(None, map(str.strip, body.split(","))):
            name, _, expression = map(str.strip, entry.partition("="))
            value = evaluate_integer(expression, known | values) if expression else following
            values[name], following = value, value + 1
    return values


def differences(released: Description, now: Description) -> list[str]:
    """A sentence for each thing that was released and is not there, or not as it was."""
    return [
        *_changed_calls("function", released["functions"], now["functions"]),
        *_changed_calls("callback", released["callbacks"], now["callbacks"]),
        *_changed_structs(released["structs"], now["structs"]),
        *_changed_values("enum value", released["enum_values"], now["enum_values"]),
        *_changed_values("macro", released["macros"], now["macros"]),
    ]


def _changed_calls(what: str, released: Description, now: Description) -> list[str]:
    faults = []
    for name, old in released.items():
        new = now.get(name)
        if new is None:
            faults.append(f"{what} {name} was removed")
        elif _signature(old) != _signature(new):
            faults.append(f"{what} {name} has changed: {_signature(old)} is now {_signature(new)}")
    return faults


def _signature(call: Description) -> str:
    """Result and types of parameters; their names may change."""
    return f"{call['result']} ({', '.join(own['type'] for own in call['parameters']) or 'void'})"


def _changed_structs(released: Description, now: Description) -> list[str]:
    faults = []
    for name, old in released.items():
        if name not in now:
            faults.append(f"struct {name} was removed")
            continue
        new = now[name]
        grows = old["fields"][0]["name"] == "struct_size" or name in _SIZED_BY_CALLER
        places = {field["name"]: (index, field) for index, field in enumerate(new["fields"])}
        for index, field in enumerate(old["fields"]):
            place, found = places.get(field["name"], (index, None))
            here = new["fields"][index] if index < len(new["fields"]) else None
            if found is None and field["name"].startswith("reserved") and here is not None:
                place, found = index, here | {"name": field["name"]}
            if found is None:
                faults.append(f"field {field['name']} of {name} was removed")
            elif place != index:
                faults.append(f"field {field['name']} of {name} was number {index}, now {place}")
            elif found != field:
                change = f"{_place(field)} is now {_place(found)}"
                faults.append(f"field {field['name']} of {name} has changed: {change}")
        added = [own["name"] for own in new["fields"][len(old["fields"]) :]]
        if added and not grows:
            faults.append(f"struct {name} has a fixed layout, but now has {', '.join(added)} too")
    return faults


def _place(field: Description) -> str:
    return f"{field['type']} at {field['offset']}, {field['size']} bytes"


def _changed_values(what: str, released: Description, now: Description) -> list[str]:
    return [
        f"{what} {name} was removed"
        if name not in now
        else f"{what} {name} was {value}, now {now[name]}"
        for name, value in released.items()
        if name not in now or now[name] != value
    ]


def check(released: Path, now: Description) -> list[str]:
    """What breaks programs built against a released header; nothing if the ABI version grew."""
    if not released.is_file():
        return []
    old = json.loads(released.read_text(encoding="utf-8"))
    if now["abi_version"] > old["abi_version"]:
        return []
    if now["abi_version"] < old["abi_version"]:
        return [f"PRUNE_ABI_VERSION is {now['abi_version']}, but {old['abi_version']} was released"]
    return differences(old, now)


def main() -> int:
    """Runs the script; returns the exit status."""
    parser = argparse.ArgumentParser(description="Describes and checks the C header's ABI.")
    option = parser.add_argument
    option("--header", type=Path, default=ROOT / "include/prunecore.h", help="the C header")
    option("--released", type=Path, help="default: include/abi/N.json, N being the ABI version")
    option("--out", type=Path, help="write the description to this file")
    option("--check", action="store_true", help="fail if something released has changed")
    option("--release", action="store_true", help="write the released description")
    arguments = parser.parse_args()
    now = describe(arguments.header.read_text(encoding="utf-8"))
    released = arguments.released or ROOT / f"include/abi/{now['abi_version']}.json"
    text = json.dumps(now, indent=1) + "\n"
    if arguments.out:
        _write(arguments.out, text)
    if arguments.check or arguments.release:
        if FFI().sizeof("long") != 8 or FFI().sizeof("void *") != 8:
            print("layouts are described for LP64, which this machine is not", file=sys.stderr)
            return 1
        faults = check(released, now)
        for fault in faults:
            print(fault, file=sys.stderr)
        if faults:
            print(
                f"{released.name} was released: raise PRUNE_ABI_VERSION, or undo the changes above",
                file=sys.stderr,
            )
            return 1
    if arguments.release:
        _write(released, text)
    elif arguments.check:
        found = "agrees with the release" if released.is_file() else "is not released yet"
        print(f"ABI {now['abi_version']} {found}")
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
