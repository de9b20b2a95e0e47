# SPDX-License-Identifier: Apache-2.0
"""Running the command `prunecore` as its users do: in a folder, on a terminal, stopped."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "prunecore"]


def run(folder: Path, arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder; it must end with `code`."""
    done = subprocess.run(
        [*COMMAND, *arguments.split()], check=False, capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == code, done.stderr
    return done


def only_json(done: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed, which must be one JSON object and nothing else."""
    assert done.stderr == ""  # no terminal: no progress
    return json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition comes true within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def stopped(
    folder: Path, arguments: str, told: Callable[[], int], how: signal.Signals, wait: float
) -> tuple[int, str]:
    """Begins a command, waits for its next checkpoint and some more, and stops it.

    Parameters
    ----------
    told : callable
        How much the checkpoint holds.

    Returns
    -------
    tuple of int and str
        Exit status and standard error.
    """
    before = told()
    process = subprocess.Popen(
        [*COMMAND, *arguments.split()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    further = wait_until(lambda: told() > before or process.poll() is not None, 120)
    assert further, "no batch was ever done"
    time.sleep(wait)
    process.send_signal(how)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def on_terminal(folder: Path, arguments: str) -> tuple[bytes, bytes]:
    """Standard output of a command, and what it shows on the terminal that its errors go to."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments.split()],
        stdout=subprocess.PIPE,
        stderr=follower,
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(follower)
    shown = bytearray()

    def drain() -> None:
        try:
            while part := os.read(leader, 4096):
                shown.extend(part)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=drain)
    reader.start()
    assert process.stdout is not None
    output = process.stdout.read()
    assert process.wait() == 0
    reader.join()
    os.close(leader)
    return output, bytes(shown)
