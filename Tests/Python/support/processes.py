# SPDX-License-Identifier: Apache-2.0
"""Processes in tests: limits that only hangs reach, and Ctrl-C that reaches every child."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

# Seconds: many times what any part of the tests takes on a busy machine. What takes longer hangs.
HANG = 900


def default_signals() -> None:
    """Run in a child before its program: Ctrl-C and SIGHUP end it, even under nohup."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def begun(command: list[Any], **options: Any) -> subprocess.Popen[Any]:
    """Begins a process that signals end, even if the tests run under nohup, which ignores some."""
    return subprocess.Popen(command, preexec_fn=default_signals, **options)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Waits for an event; fails only if it seems never to come."""
    end = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.005)
