# SPDX-License-Identifier: Apache-2.0
"""What the build of the package needs beyond copying files.

The version is the C header's, and the modules that follow from the header are generated. The
modelling files that exports carry are the core's. The C library is built at the root of the
repository if it is not there, or is older than its sources, and goes into the wheel, which is then
tagged for its platform but for every Python: cffi's ABI mode needs no compiled extension.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

LIBRARY = "libprunecore.so.1"
MODELLING = Path("Sources", "PruneCore", "Export", "Modelling")
SOURCES = ("include", "Sources", "Package.swift", "scripts/build-library.sh")


def _generator(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("generate_raw", root / "generate_raw.py")
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{root / 'generate_raw.py'} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_stale(library: Path, repository: Path) -> bool:
    if not library.is_file():
        return True
    built = library.stat().st_mtime
    for name in SOURCES:
        source = repository / name
        files = source.rglob("*") if source.is_dir() else [source]
        if any(file.stat().st_mtime > built for file in files if file.is_file()):
            return True
    return False


def _library(root: Path) -> Path:
    """The C library: the one that is named, or that of the repository, built if need be."""
    chosen = os.environ.get("PRUNECORE_LIBRARY")
    if chosen:
        path = Path(chosen)
        if not path.is_file():
            raise FileNotFoundError(f"PRUNECORE_LIBRARY names {path}, which is not there")
        return path.resolve()
    repository = root.parents[1]
    script = repository / "scripts" / "build-library.sh"
    library = repository / "build" / "lib" / LIBRARY
    if not script.is_file():
        raise FileNotFoundError(
            f"{script} is not there: only a checkout of the repository can build the library; "
            f"elsewhere, set PRUNECORE_LIBRARY to the path of {LIBRARY}"
        )
    if _is_stale(library, repository):
        subprocess.run([str(script)], cwd=repository, check=True)
    return library.resolve()


def _modelling(root: Path) -> Path:
    """Where the modelling files are: in a source distribution, beside this file."""
    own = root / "modelling"
    return own if own.is_dir() else root.parents[1] / MODELLING


class MetadataHook(MetadataHookInterface):
    """Takes the version from the C header."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Sets the version."""
        generator = _generator(Path(self.root))
        metadata["version"] = generator.header_version(generator.default_header())


class BuildHook(BuildHookInterface[Any]):
    """Generates what follows from the header, and puts the C library into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepares one wheel; `version` is "standard" or "editable"."""
        root = Path(self.root)
        generator = _generator(root)
        generator.generate(generator.default_header())
        library = _library(root)
        if version == "editable":
            return  # the files in src are used in place, and the loader finds build/lib
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        for name in generator.GENERATED:
            build_data["force_include"][str(generator.PACKAGE / name)] = f"prunecore/{name}"
        build_data["force_include"][str(library)] = f"prunecore/lib/{LIBRARY}"
        for file in _modelling(root).glob("*prunecore*.py"):
            build_data["force_include"][str(file)] = f"prunecore/export/modelling/{file.name}"
        if not (root / "LICENSE").is_file():  # in a checkout it lies outside of this folder
            folder = f"prunecore-{self.metadata.version}.dist-info/licenses"
            build_data["force_include"][str(root.parents[1] / "LICENSE")] = f"{folder}/LICENSE"
