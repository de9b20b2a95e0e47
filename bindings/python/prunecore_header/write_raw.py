# SPDX-License-Identifier: Apache-2.0
"""Writes the raw module: the header's declarations in cffi's out-of-line ABI mode."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from pathlib import Path

from prunecore_header.preprocessing import declarations, function_names, real_macros


def raw_module(header: str, module: str) -> str:
    """The module. Macros that are real numbers, which cffi has no place for, are a table."""
    from cffi import FFI

    declared = declarations(header)
    builder = FFI()
    builder.cdef(declared)
    builder.set_source(module, None)
    with tempfile.TemporaryDirectory() as folder:
        emitted = Path(folder) / "raw.py"
        with contextlib.redirect_stdout(None):  # cffi says which file it writes
            builder.emit_python_code(str(emitted))
        body = emitted.read_text(encoding="utf-8")
    names = "".join(f'    "{name}",\n' for name in function_names(declared))
    reals = "".join(f'    "{name}": {value!r},\n' for name, value in real_macros(header).items())
    return (
        "# Generated from prunecore.h by generate_raw.py. Do not edit.\n# mypy: ignore-errors\n"
        f"{body}\n"
        f'HEADER_SHA256 = "{hashlib.sha256(header.encode()).hexdigest()}"\n'
        f"FUNCTION_NAMES = (\n{names})\n"
        f"REAL_MACROS = {{\n{reals}}}\n"
    )
