# SPDX-License-Identifier: Apache-2.0
"""Writes what Python takes from the C header, so that the two cannot drift apart.

Three modules: the raw layer for cffi, the names of what the header numbers, and the plain options
of its structs with their texts. The package `prunecore_header` beside this script does the work.

Run it by hand after a change of the header (the build hook does so, too):

    python bindings/python/generate_raw.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:  # also where the build hook loads this file
    sys.path.insert(0, str(HERE))

from prunecore_header.items import enum_groups, option_structs  # noqa: E402
from prunecore_header.plain import plain_fields  # noqa: E402
from prunecore_header.preprocessing import (  # noqa: E402
    HeaderError,
    declarations,
    evaluate_integer,
    function_names,
    integer_macros,
    real_macros,
)
from prunecore_header.write_names import names_module  # noqa: E402
from prunecore_header.write_options import options_module  # noqa: E402
from prunecore_header.write_raw import raw_module  # noqa: E402
from prunecore_header.writing import write_if_changed  # noqa: E402

__all__ = [
    "GENERATED",
    "PACKAGE",
    "HeaderError",
    "declarations",
    "default_header",
    "enum_groups",
    "evaluate_integer",
    "function_names",
    "generate",
    "header_version",
    "names_module",
    "option_structs",
    "options_module",
    "plain_fields",
    "real_macros",
]

PACKAGE = HERE / "src" / "prunecore"
RAW = "_raw_generated.py"
NAMES = "_native/names_generated.py"
OPTIONS = "_native/options_generated.py"
GENERATED = (RAW, NAMES, OPTIONS)
"""What is written, relative to the package."""


def default_header() -> Path:
    """Where the header lies: at the repository root, or beside this script in an sdist."""
    for candidate in (HERE.parents[1] / "include" / "prunecore.h", HERE / "prunecore.h"):
        if candidate.is_file():
            return candidate
    raise HeaderError(f"prunecore.h is neither in {HERE.parents[1] / 'include'} nor in {HERE}")


def generate(header: Path, package: Path = PACKAGE) -> None:
    """Reads `header` and writes the generated modules of the package."""
    text = header.read_text(encoding="utf-8")
    groups = enum_groups(text)
    contents = {
        RAW: raw_module(text, "prunecore." + RAW.removesuffix(".py").replace("/", ".")),
        NAMES: names_module(groups),
        OPTIONS: options_module(option_structs(text), groups),
    }
    for name, content in contents.items():
        write_if_changed(package / name, content)


def header_version(header: Path) -> str:
    """The version that the header states, "major.minor.patch"."""
    values = integer_macros(declarations(header.read_text(encoding="utf-8")))
    return ".".join(str(values[f"PRUNE_VERSION_{part}"]) for part in ("MAJOR", "MINOR", "PATCH"))


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Writes what Python takes from the C header.")
    parser.add_argument("--header", type=Path, default=None, help="the C header")
    parser.add_argument("--package", type=Path, default=PACKAGE, help="the folder of the package")
    arguments = parser.parse_args()
    generate(arguments.header or default_header(), arguments.package)


if __name__ == "__main__":
    main()
