# SPDX-License-Identifier: Apache-2.0
"""Checks that header, library and Python binding name the same functions.

Compares the functions that ``include/prunecore.h`` declares, those that the built library exports
(and that it exports nothing else), and those that the package ``prunecore`` binds.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def declared() -> set[str]:
    """Names of the functions that the header declares."""
    text = (ROOT / "include/prunecore.h").read_text()
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    text = re.sub(r"^\s*#.*(?:\\\n.*)*$", "", text, flags=re.MULTILINE)
    return set(re.findall(r"\b(prune_\w+)\s*\((?!\s*\*)", text))


def exported() -> set[str]:
    """Names of the symbols that the library exports, whatever they are."""
    command = ["nm", "-D", "--defined-only", ROOT / "build/lib/libprunecore.so.1"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in listing.splitlines()}


def bound() -> set[str]:
    """Names of the functions that the Python package binds."""
    from prunecore._native.library import bound_functions

    return set(bound_functions())


def main() -> int:
    """Prints every difference; returns the exit status."""
    header = declared()
    faults = []
    if not header:
        faults.append("no function found in the header")
    for what, names in (("the library", exported()), ("the Python package", bound())):
        faults += [f"{name} is in the header but not in {what}" for name in sorted(header - names)]
        faults += [f"{name} is in {what} but not in the header" for name in sorted(names - header)]
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{len(header)} functions: header, library and Python binding agree")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
