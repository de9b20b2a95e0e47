# SPDX-License-Identifier: Apache-2.0
"""The runtimes that exports are checked in: transformers for directories, llama.cpp for GGUF."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from prunecore.errors import FormatError, LoadError

Logits = npt.NDArray[np.float32]


class Runtime(Protocol):
    """An export, loaded.

    Attributes
    ----------
    name : str
        The runtime and its version.
    """

    name: str

    def logits(self, sequence: npt.NDArray[np.integer[Any]]) -> Logits:
        """Logits of every token of a sequence, shape (n_tokens, vocabulary_size)."""
        ...

    def close(self) -> None:
        """Gives the memory back."""
        ...


class Transformers:
    """A directory that transformers runs on the CPU, in float32, with its own modelling files.

    Raises
    ------
    LoadError
        transformers or PyTorch is not installed.
    FormatError
        transformers does not load the directory; the text has its words.
    """

    def __init__(self, directory: Path) -> None:
        try:
            self._torch: Any = importlib.import_module("torch")
            transformers: Any = importlib.import_module("transformers")
        except ImportError as error:
            raise LoadError(
                "exported directories are run with transformers and torch: install both"
            ) from error
        try:
            with _quiet(transformers):
                self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(
                    str(directory),
                    dtype=self._torch.float32,
                    trust_remote_code=True,
                    local_files_only=True,
                )
        except Exception as error:  # whatever a loader raises, it did not load
            raise FormatError(f"transformers cannot load {directory}: {error}") from error
        self._model.eval()
        self.name = f"transformers {transformers.__version__}"

    def logits(self, sequence: npt.NDArray[np.integer[Any]]) -> Logits:
        """Logits of every token of a sequence."""
        with self._torch.no_grad():
            tokens = self._torch.from_numpy(np.asarray(sequence, dtype=np.int64))[None]
            found: Logits = self._model(tokens, use_cache=False).logits[0].float().numpy()
        return found

    def close(self) -> None:
        """Gives the memory back."""
        self._model = None


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars while a model is loaded: the command line has its own."""
    logging = transformers.utils.logging
    before = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            logging.enable_progress_bar()
