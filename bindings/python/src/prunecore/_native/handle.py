# SPDX-License-Identifier: Apache-2.0
"""Ownership of a C handle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prunecore._native.library import _check, ffi
from prunecore.errors import HandleError

if TYPE_CHECKING:
    from typing_extensions import Self


class Handle:
    """Owns one handle of the C library and gives it back exactly once.

    cffi gives it back when the last reference goes, at the end of the interpreter too, so that no
    `__del__` is needed. Calls that are under way in other threads keep what they use alive.

    Parameters
    ----------
    noun : str
        What the handle is, for error texts: "model".
    kind : str
        C type, such as "prune_model".
    make : callable
        Given a `kind **`, makes the handle and returns a status.
    release : C function
        Gives the handle back.
    """

    def __init__(self, noun: str, kind: str, make: Callable[[Any], int], release: Any) -> None:
        out = ffi.new(f"{kind} **")
        try:
            _check(make(out))
        except BaseException:  # the user's interrupt may come after the handle was made
            release(out[0])
            raise
        self._noun = noun
        self._pointer = ffi.gc(out[0], release)

    @property
    def pointer(self) -> Any:
        """The C handle. Raises `HandleError` after `close()`."""
        pointer = self._pointer
        if pointer is None:
            raise HandleError(f"the {self._noun} is closed")
        return pointer

    @property
    def closed(self) -> bool:
        """Whether the handle was given back."""
        return self._pointer is None

    def close(self) -> None:
        """Gives the handle back now. Closing twice is allowed."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            ffi.release(pointer)


class Owner:
    """What objects that own one handle have in common. A subclass makes `_handle`."""

    _handle: Handle

    @property
    def handle(self) -> Any:
        """The C handle, for the raw layer. Borrowed; raises `HandleError` after `close()`."""
        return self._handle.pointer

    @property
    def closed(self) -> bool:
        """Whether this was closed."""
        return self._handle.closed

    def close(self) -> None:
        """Gives the memory back. Closing twice is allowed; any other use raises `HandleError`.

        What was made of this, such as recovered models of adapters, keeps what it needs.
        """
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
