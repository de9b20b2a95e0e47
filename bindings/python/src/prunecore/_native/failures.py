# SPDX-License-Identifier: Apache-2.0
"""Exceptions of a host's methods on their way through C, which cannot carry them.

A method fails inside a call of the library, which then stops and returns a status; whoever made the
call raises the exception that is kept here. Callbacks run on the thread of the call, so that each
thread keeps its own. Three rules keep an exception from coming out of a call that is not its own:
a long call begins with none (`forget`), a callback puts the one that was there before it back when
it ends (`before`), and to raise it is to take it.
"""

from __future__ import annotations

import threading

_SENTENCE_LENGTH = 1000


class _Kept(threading.local):
    exception: BaseException | None = None


kept = _Kept()
"""The exception that stops the call under way on this thread; None = none."""


def take() -> BaseException | None:
    """The exception that stopped the call that has just ended; the next call finds none."""
    exception, kept.exception = kept.exception, None
    return exception


def forget() -> None:
    """A call begins: what an earlier one left behind, interrupted as it ended, is not its own."""
    kept.exception = None


def sentence(exception: BaseException) -> bytes:
    """What C is told of an exception, for those who read no Python: "ValueError: no such layer"."""
    try:
        words = str(exception)
    except Exception:  # its own __str__ fails: there is still its type
        words = ""
    name = type(exception).__name__
    told = f"{name}: {words}" if words else name
    return told[:_SENTENCE_LENGTH].replace("\0", " ").encode("utf-8", "backslashreplace")
