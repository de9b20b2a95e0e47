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
from pathlib import Path
from typing import Any

import pytest
from processes import HANG, begun

COMMAND = [sys.executable, "-m", "prunecore"]

SMALL = "--data text.jsonl --sequence-length 24 --limit 2"
"""A few tokens of the text in `folder`."""


def run(folder: Path, arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder; it must end with `code`."""
    done = subprocess.run(
        [*COMMAND, *arguments.split()],
        check=False,
        capture_output=True,
        encoding="utf-8",
        cwd=folder,
    )
    assert done.returncode == code, done.stderr
    return done


def only_json(done: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed, which must be one JSON object and nothing else."""
    assert done.stderr == ""  # no terminal: no progress
    return json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))


def write_questions(folder: Path) -> None:
    """Writes two multiple-choice questions to q.jsonl."""
    questions = [
        {"question": "What is two and two?", "choices": ["three", "four", "five"], "answer": 1},
        {"question": "What colour is the sky?", "choices": ["blue", "red"], "answer": 0},
    ]
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))


def stopped(
    folder: Path, arguments: str, how: signal.Signals, sync: int
) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal when it writes to disk for the `sync`-th time.

    Writing a checkpoint syncs twice: before the new file takes the place of the old one, and after.
    """
    program = Path(__file__).with_name("stopped_at_sync.py")
    command = [sys.executable, program, str(int(how)), str(sync), *arguments.split()]
    process = begun(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
    output, errors = process.communicate(timeout=HANG)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


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
