# SPDX-License-Identifier: Apache-2.0
"""An exported GGUF file inside llama.cpp, through llama-cpp-python."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore.errors import FormatError, LoadError

if TYPE_CHECKING:
    from typing_extensions import Self

_F32 = 0  # GGML_TYPE_F32
_CACHE = re.compile(r"K \((\w+)\):\s*([\d.]+) MiB, V \((\w+)\):\s*([\d.]+) MiB")


class LlamaCpp:
    """A GGUF file that llama.cpp runs on the CPU, with keys and values in float32.

    Parameters
    ----------
    path : path
        The file.
    context : int
        Tokens of a sequence at most.
    flash_attention : bool
        Without it logits are float32 throughout; with it llama.cpp rounds attention to float16, but
        keys and values of layers that have none take no memory.
    threads : int, optional
        Default: llama.cpp's choice.

    Raises
    ------
    LoadError
        llama-cpp-python is not installed.
    FormatError
        llama.cpp does not load the file; the text has its last words.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        context: int,
        *,
        flash_attention: bool = False,
        threads: int | None = None,
    ) -> None:
        llama_cpp = load_llama_cpp()
        self._lines: list[str] = []

        # Kept as long as this object: ctypes does not.
        @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
        def listen(_level: int, line: bytes, _data: Any) -> None:
            self._lines.append(line.decode(errors="replace"))

        self._listen = listen
        llama_cpp.llama_log_set(listen, ctypes.c_void_p(0))
        try:
            self._llama = llama_cpp.Llama(
                os.fspath(path),
                n_ctx=context,
                n_batch=context,
                n_ubatch=context,
                logits_all=True,
                type_k=_F32,
                type_v=_F32,
                flash_attn=flash_attention,
                n_threads=threads,
                n_threads_batch=threads,
                verbose=False,
            )
        except (ValueError, AssertionError) as error:
            said = " ".join("".join(self._lines[-3:]).split())
            raise FormatError(f"llama.cpp cannot run {path}: {said or error}") from error
        self.name = f"llama.cpp (llama-cpp-python {llama_cpp.__version__})"

    def logits(self, sequence: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """Logits of every token of a sequence, shape (n_tokens, vocabulary_size)."""
        self._llama.reset()
        self._llama.eval([int(token) for token in sequence])
        return np.array(self._llama.scores[: len(sequence)], dtype=np.float32)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, with the special tokens that the file asks for."""
        found: list[int] = self._llama.tokenize(text.encode(), add_bos=True, special=True)
        return found

    @property
    def cache_bytes(self) -> float | None:
        """Bytes of the key-value cache for the whole context, as llama.cpp logs them.

        They are rounded to 0.01 MiB. None if it does not say.
        """
        found = [match for line in self._lines if (match := _CACHE.search(line))]
        if not found:
            return None
        return (float(found[-1][2]) + float(found[-1][4])) * 2**20

    def close(self) -> None:
        """Gives the model back."""
        self._llama.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_llama_cpp() -> Any:
    """The package llama_cpp.

    Raises
    ------
    LoadError
        It is not installed.
    """
    try:
        return importlib.import_module("llama_cpp")
    except ImportError as error:
        raise LoadError(
            "GGUF files are run with llama-cpp-python: scripts/setup-llama-cpp.sh compiles it"
        ) from error
