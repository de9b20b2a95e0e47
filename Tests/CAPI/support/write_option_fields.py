# SPDX-License-Identifier: Apache-2.0
"""Writes a C table of the numbers in the header's option structs, so that none is forgotten.

write_option_fields.py OUT: option_fields.h, for Tests/CAPI/rules/test_extreme_options.c.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bindings" / "python"))

from prunecore_header.items import enum_groups, option_structs  # noqa: E402

KINDS = {
    "int32_t": "FIELD_INT32",
    "uint32_t": "FIELD_UINT32",
    "int64_t": "FIELD_INT64",
    "uint64_t": "FIELD_UINT64",
    "size_t": "FIELD_UINT64",
    "double": "FIELD_DOUBLE",
}


def main() -> None:
    """Runs the script."""
    header = (ROOT / "include" / "prunecore.h").read_text(encoding="utf-8")
    kinds = KINDS | {group.type: KINDS[group.underlying] for group in enum_groups(header)}
    rows = [
        f'    {{ "{struct.type}", "{field.name}", '
        f"offsetof({struct.type}, {field.name}), {kinds[field.type]} }},"
        for struct in option_structs(header)
        for field in struct.fields
        if not field.type.endswith(("*", "_fn"))
    ]
    lines = ["static const option_field option_fields[] = {", *rows, "};", ""]
    Path(sys.argv[1]).write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
