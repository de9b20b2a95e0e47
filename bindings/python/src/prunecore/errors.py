# SPDX-License-Identifier: Apache-2.0
"""Exceptions: one for each status of the C library, all of them `prunecore.Error`.

Each also derives from the built-in exception that Python programmers expect, so that `except
ValueError` catches a wrong argument, and `except OSError` a missing file.
"""

from __future__ import annotations

from typing import Any, ClassVar

from prunecore._raw_generated import ffi

__all__ = [
    "ArgumentError",
    "Cancelled",
    "ContextWarning",
    "DataError",
    "Error",
    "FileError",
    "FormatError",
    "HandleError",
    "HostError",
    "InternalError",
    "LoadError",
    "NonFiniteError",
    "OutOfMemoryError",
    "TooSmallBufferError",
    "UnsupportedError",
]


class ContextWarning(UserWarning):
    """Sequences are longer than the context that a model was made for: what is measured of them is
    of positions that it never saw.
    """


class LoadError(ImportError):
    """The C library could not be found, or does not belong to this package."""


class Error(Exception):
    """What a call of PruneCore raises when it fails.

    Attributes
    ----------
    status : int
        Value of `prune_status`, such as `PRUNE_ERR_FILE`; never `PRUNE_OK`.
    status_name : str
        Its name, such as "PRUNE_ERR_FILE"; "PRUNE_ERR_UNKNOWN" for values that the header does not
        know.
    """

    status: int = -1
    status_name: ClassVar[str] = "PRUNE_ERR_UNKNOWN"

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self._message = message
        if status is not None:
            self.status = status

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "status_name" in cls.__dict__:
            cls.status = ffi.integer_const(cls.status_name)
            _BY_STATUS[cls.status] = cls

    def __str__(self) -> str:
        return self._message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._message, self.status)


_BY_STATUS: dict[int, type[Error]] = {}


class ArgumentError(Error, ValueError):
    """An argument is out of range, has the wrong length, or is not one of the names allowed."""

    status_name = "PRUNE_ERR_ARGUMENT"


class HandleError(Error, ValueError):
    """The object was closed before."""

    status_name = "PRUNE_ERR_HANDLE"


class OutOfMemoryError(Error, MemoryError):
    """There was not enough memory."""

    status_name = "PRUNE_ERR_MEMORY"


class FileError(Error, OSError):
    """A file is missing or unreadable."""

    status_name = "PRUNE_ERR_FILE"


class FormatError(Error, ValueError):
    """A file is damaged, or contradicts itself."""

    status_name = "PRUNE_ERR_FORMAT"


class UnsupportedError(Error, NotImplementedError):
    """Well-formed, but not something that this version computes."""

    status_name = "PRUNE_ERR_UNSUPPORTED"


class DataError(Error, ValueError):
    """Token ids do not fit the model, or there are too few of them."""

    status_name = "PRUNE_ERR_DATA"


class NonFiniteError(Error, ArithmeticError):
    """NaN or infinity was met; the text names the layer."""

    status_name = "PRUNE_ERR_NONFINITE"


class Cancelled(Error):  # noqa: N818  stopping is nobody's error
    """The progress function asked to stop."""

    status_name = "PRUNE_ERR_CANCELLED"


class TooSmallBufferError(Error):
    """A buffer was too small: a fault of this package, which sizes its buffers itself."""

    status_name = "PRUNE_ERR_BUFFER"


class HostError(Error, RuntimeError):
    """A callback of the program that runs the model failed; the text names it."""

    status_name = "PRUNE_ERR_HOST"


class InternalError(Error, RuntimeError):
    """A fault of the library itself; please report it."""

    status_name = "PRUNE_ERR_INTERNAL"


def error_from_status(status: int, message: str) -> Error:
    """Makes the exception that stands for a status of the C library.

    Parameters
    ----------
    status : int
        A `prune_status` other than `PRUNE_OK`. A value that the header does not know gives a plain
        `Error`.
    message : str
        One sentence that names the thing at fault.
    """
    return _BY_STATUS.get(status, Error)(message, status)
