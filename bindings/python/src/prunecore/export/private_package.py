# SPDX-License-Identifier: Apache-2.0
"""Python files of one folder as a package that nothing else of this process knows."""

from __future__ import annotations

import importlib
import importlib.util
import secrets
import sys
from pathlib import Path
from typing import Any

from prunecore.errors import FormatError


class PrivatePackage:
    """Modules of a folder, under a name that nobody else has. Neither path nor caches are touched.

    Parameters
    ----------
    folder : Path
        Where the files are; they are read when they are first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"prunecore_export_{secrets.token_hex(8)}"

    def load(self, named: str) -> Any:
        """A class of the folder: "modeling_prunecore.PruneCoreLlamaForCausalLM".

        Raises
        ------
        FormatError
            The module has no such class.
        """
        if self._name not in sys.modules:
            spec = importlib.util.spec_from_loader(self._name, None, is_package=True)
            assert spec is not None
            package = importlib.util.module_from_spec(spec)
            package.__path__ = [str(self._folder)]
            sys.modules[self._name] = package
        module, _, name = named.partition(".")
        found = getattr(importlib.import_module(f"{self._name}.{module}"), name, None)
        if found is None:
            raise FormatError(f"config.json names the class {named}, which {module}.py lacks")
        return found

    def forget(self) -> None:
        """Takes the modules away."""
        for name in [n for n in sys.modules if n.partition(".")[0] == self._name]:
            del sys.modules[name]
