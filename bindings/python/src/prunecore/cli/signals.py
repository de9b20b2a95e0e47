# SPDX-License-Identifier: Apache-2.0
"""Signals that ask the command to end: Ctrl-C, SIGTERM and SIGHUP alike."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Ending:
    """What asked the command to end; None as long as nothing has.

    Attributes
    ----------
    by : signal.Signals or None
        The first signal that came.
    """

    by: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """What shells say of a process that the signal ended: 130, 143, 129."""
        return 128 + (self.by or signal.SIGINT)


@contextmanager
def ended_by_signals() -> Iterator[Ending]:
    """Within the block, the first such signal raises KeyboardInterrupt; a second one ends at once.

    Signals that are ignored, as SIGHUP is under nohup, stay so; handlers of a program that runs the
    command inside itself stay, too. The library touches no handlers: only the command does.
    """
    ending = Ending()
    before: dict[signal.Signals, Any] = {}

    def end(number: int, _frame: FrameType | None) -> None:
        ending.by = signal.Signals(number)
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for each in ENDING:
            if signal.getsignal(each) in (signal.SIG_DFL, signal.default_int_handler):
                before[each] = signal.getsignal(each)
        for each in before:
            signal.signal(each, end)
    try:
        yield ending
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
