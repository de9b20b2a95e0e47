# SPDX-License-Identifier: Apache-2.0
"""Opens GGUF files with the package gguf, and finds nothing beyond their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from prunecore.errors import FileError, FormatError


class _BoundedReader(gguf.GGUFReader):
    """Finds nothing beyond the end of a file.

    The package finds empty values there, as many as a damaged count names: it reads for ever.
    """

    def _get(
        self, offset: int, dtype: npt.DTypeLike, count: int = 1, override_order: Any = None
    ) -> npt.NDArray[Any]:
        if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
            raise ValueError("it ends in the middle of a value")
        return super()._get(offset, dtype, count, override_order)


def open_file(path: Path) -> gguf.GGUFReader:
    """Opens a file. Raises `FileError` and `FormatError`."""
    if not path.is_file():
        raise FileError(f"{path} is not a file")
    try:
        return _BoundedReader(path, "r")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever the package gguf meets in a file that is none
        raise FormatError(f"{path} is not a GGUF file: {error}") from error
