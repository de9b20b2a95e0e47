# SPDX-License-Identifier: Apache-2.0
"""What a runtime is in which exports are checked, and transformers, for directories.

llama.cpp, for GGUF, and mlx-lm are in modules of their own.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from prunecore.errors import Error, FormatError, LoadError
from prunecore.export.modelling_code import OwnCode, own_code

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
    """A directory that transformers runs on the CPU, in float32, with its modelling files.

    Parameters
    ----------
    directory : Path
        The export.
    trust_remote_code : bool
        Whether to run whatever code it carries. Otherwise only PruneCore's own is run.

    Raises
    ------
    LoadError
        transformers or PyTorch is not installed.
    FormatError
        transformers does not load the directory; the text has its words.
    UnsupportedError
        It carries code that PruneCore did not write, which is not trusted.
    """

    def __init__(self, directory: Path, trust_remote_code: bool = False) -> None:
        try:
            self._torch: Any = importlib.import_module("torch")
            transformers: Any = importlib.import_module("transformers")
        except ImportError as error:
            raise LoadError(
                "exported directories are run with transformers and torch: install both"
            ) from error
        options = {"dtype": self._torch.float32, "local_files_only": True}
        with ExitStack() as stack:
            copy = None if trust_remote_code else stack.enter_context(own_code(directory))
            try:
                with without_bars(transformers):
                    self._model: Any = _load(transformers, directory, copy, options)
            except Error:
                raise
            except Exception as error:  # whatever a loader raises, it did not load
                raise FormatError(f"transformers cannot load {directory}: {error}") from error
            self._held = stack.pop_all()  # weights are mapped, and modules looked up, until the end
        self._model.eval()
        self.name = f"transformers {transformers.__version__}"

    def logits(self, sequence: npt.NDArray[np.integer[Any]]) -> Logits:
        """Logits of every token of a sequence."""
        with self._torch.no_grad():
            tokens = self._torch.from_numpy(np.asarray(sequence, dtype=np.int64))[None]
            found: Logits = self._model(tokens, use_cache=False).logits[0].float().numpy()
        return found

    def close(self) -> None:
        """Gives the memory back, and takes the copy of the code away."""
        self._model = None
        self._held.close()


def _load(transformers: Any, directory: Path, copy: OwnCode | None, options: dict[str, Any]) -> Any:
    auto = transformers.AutoModelForCausalLM
    if copy is None:
        return auto.from_pretrained(str(directory), trust_remote_code=True, **options)
    # Weights in another form than safetensors may hold code.
    safe = {**options, "use_safetensors": True, "trust_remote_code": False}
    path = str(copy.directory)
    if copy.classes is None:
        return auto.from_pretrained(path, **safe)
    configuration, model = (copy.load(name) for name in copy.classes)
    config = configuration.from_pretrained(path, local_files_only=True)
    return model.from_pretrained(path, config=config, **safe)


@contextmanager
def without_bars(transformers: Any) -> Iterator[None]:
    """No progress bars while a model is loaded: the command line has its own."""
    logging = transformers.utils.logging
    before = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            logging.enable_progress_bar()
