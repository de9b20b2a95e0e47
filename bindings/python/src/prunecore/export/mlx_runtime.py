# SPDX-License-Identifier: Apache-2.0
"""mlx-lm as a runtime that exports are checked in: on the CPU, wherever `mlx` runs."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore.errors import FormatError, LoadError

INSTALL = "pip install 'mlx[cpu]' mlx-lm"


def has_mlx() -> bool:
    """Whether mlx-lm is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("mlx", "mlx_lm"))


class MLX:
    """A directory that mlx-lm runs on the CPU, in float32. It runs no code of the directory.

    Parameters
    ----------
    directory : Path
        The export.

    Raises
    ------
    LoadError
        mlx or mlx-lm is not installed.
    FormatError
        mlx-lm does not load the directory; the text has its words.
    """

    def __init__(self, directory: Path) -> None:
        try:
            self._mlx: Any = importlib.import_module("mlx.core")
            utils: Any = importlib.import_module("mlx_lm.utils")
        except ImportError as error:
            raise LoadError(f"this export is run with mlx-lm: {INSTALL}") from error
        self.name = f"mlx-lm {importlib.metadata.version('mlx-lm')}"
        said = io.StringIO()
        try:
            # Some of its modules print, and end the program, where a package of theirs is missing.
            with self._mlx.stream(self._mlx.cpu), contextlib.redirect_stdout(said):
                self._model: Any = utils.load_model(directory, lazy=True)[0]
                self._model.set_dtype(self._mlx.float32)
        except (Exception, SystemExit) as error:  # whatever a loader raises, it did not load
            words = said.getvalue() if isinstance(error, SystemExit) else str(error)
            reason = " ".join(words.split())
            raise FormatError(f"mlx-lm cannot load {directory}: {reason}") from error

    def logits(self, sequence: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """Logits of every token of a sequence. Raises `FormatError` where mlx-lm fails."""
        try:
            with self._mlx.stream(self._mlx.cpu):
                tokens = self._mlx.array(np.asarray(sequence, dtype=np.int32)[None])
                found = self._model(tokens)[0].astype(self._mlx.float32)
                self._mlx.eval(found)
        except Exception as error:  # weights are read here
            reason = " ".join(str(error).split())
            raise FormatError(f"mlx-lm cannot run the export: {reason}") from error
        return np.array(found)

    def close(self) -> None:
        """Gives the memory back."""
        self._model = None
