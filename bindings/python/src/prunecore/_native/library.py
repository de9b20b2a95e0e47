# SPDX-License-Identifier: Apache-2.0
"""Finds and loads the C library, and turns its statuses into exceptions.

The package and the library are built together. A library of another version could read the structs
of this package wrongly, so that versions are compared before anything else is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prunecore._native import failures
from prunecore.errors import HostError, LoadError, error_from_status

try:
    from prunecore._raw_generated import FUNCTION_NAMES, REAL_MACROS, ffi
except ModuleNotFoundError as error:  # only in a checkout that was never installed
    raise LoadError(
        "prunecore._raw_generated is missing: it is made from the C header; "
        "run `pip install -e bindings/python`, or `python bindings/python/generate_raw.py`"
    ) from error

__all__ = [
    "LIBRARY_PATH",
    "__version__",
    "_check",
    "bound_functions",
    "candidates",
    "ffi",
    "lib",
    "new_struct",
    "open_library",
    "real_macro",
    "text",
]

__version__ = ".".join(
    str(ffi.integer_const(f"PRUNE_VERSION_{part}")) for part in ("MAJOR", "MINOR", "PATCH")
)
"""Version of the header that this package was generated from, "major.minor.patch"."""

FILE_NAME = "libprunecore.so.1"
ENVIRONMENT_VARIABLE = "PRUNECORE_LIBRARY"


def candidates() -> list[Path]:
    """Files that may be the C library, the preferred one first.

    The environment variable PRUNECORE_LIBRARY, where set, is the only one: who names a library does
    not want to be given another. Otherwise the library inside the package, then that of the source
    checkout.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        return [Path(chosen)]
    package = Path(__file__).resolve().parents[1]
    found = [package / "lib" / FILE_NAME]
    if len(package.parents) >= 4:
        root = package.parents[3]
        if (root / "include" / "prunecore.h").is_file():
            found.append(root / "build" / "lib" / FILE_NAME)
    return found


def open_library(paths: Iterable[Path]) -> tuple[Any, Path]:
    """Loads the first of `paths` that exists, and checks that it belongs to this package.

    Raises
    ------
    LoadError
        No file is there, it cannot be loaded, or its version is another. The text lists the places
        looked at.
    """
    looked_at = list(paths)
    path = next((path for path in looked_at if path.is_file()), None)
    if path is None:
        places = ", ".join(str(place) for place in looked_at)
        raise LoadError(
            f"the PruneCore library was not found; looked at: {places}. "
            "Reinstall the package, or, in a source checkout, run scripts/build-library.sh, "
            f"or set {ENVIRONMENT_VARIABLE} to the path of {FILE_NAME}"
        )
    try:
        library = ffi.dlopen(str(path))
    except OSError as error:
        raise LoadError(f"the PruneCore library {path} could not be loaded: {error}") from error
    _check_version(library, path)
    return library, path


def _check_version(library: Any, path: Path) -> None:
    missing = [name for name in FUNCTION_NAMES if not _has(library, name)]
    if missing:
        raise LoadError(
            f"{path} is not the PruneCore library of this package: it lacks {', '.join(missing)}"
        )
    abi, wanted_abi = int(library.prune_abi_version()), ffi.integer_const("PRUNE_ABI_VERSION")
    version, wanted = ffi.string(library.prune_version()).decode(), __version__
    if abi != wanted_abi or version != wanted:
        raise LoadError(
            f"{path} is PruneCore {version} (ABI {abi}), but this package needs {wanted} "
            f"(ABI {wanted_abi}): build or install both from the same source"
        )


def _has(library: Any, name: str) -> bool:
    try:
        getattr(library, name)
    except (AttributeError, ffi.error):
        return False
    return True


lib, LIBRARY_PATH = open_library(candidates())


def bound_functions() -> list[str]:
    """Names of all C functions that the package binds, sorted.

    Meant for the check that the header, the library's dynamic symbols and Python agree.
    """
    return sorted(name for name in dir(lib) if not isinstance(getattr(lib, name), int))


def _check(status: int) -> None:
    """Raises the exception that stands for `status`, unless it is `PRUNE_OK`.

    Where a model's host failed, that is the host's own.
    """
    if status != lib.PRUNE_OK:
        if status == HostError.status and (failure := failures.take()) is not None:
            raise failure
        raise error_from_status(status, text(lib.prune_last_error()))


def new_struct(name: str) -> Any:
    """Makes a zeroed struct of the header with its `struct_size` set."""
    struct = ffi.new(f"{name} *")
    struct.struct_size = ffi.sizeof(name)
    return struct


def real_macro(name: str) -> float:
    """Value of a macro of the header that is a real number, such as PRUNE_CAP_NONE."""
    return float(REAL_MACROS[name])


def text(pointer: Any) -> str:
    """The Python string that a `const char *` of the library holds."""
    return str(ffi.string(pointer).decode("utf-8", "replace"))


def written_text(call: Callable[..., Any], *handle: Any) -> bytes:
    """The text that a function writes to a caller's buffer, whatever its length."""
    count = ffi.new("size_t *")
    status = call(*handle, ffi.NULL, 0, count)
    if status != lib.PRUNE_ERR_BUFFER:
        _check(status)
    room = ffi.new("char[]", count[0])
    _check(call(*handle, room, len(room), count))
    return bytes(ffi.string(room))
