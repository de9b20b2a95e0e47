# SPDX-License-Identifier: Apache-2.0
"""The command `prunecore`, which sends itself a signal when it writes a file to disk.

    python stopped_at_sync.py SIGNAL COUNT ARGUMENT ...

The signal comes at the COUNT-th call of os.fsync. A checkpoint takes two: of the new file while the
old one still stands, and of the folder once the new one has taken its place.
"""

from __future__ import annotations

import os
import signal
import sys

from prunecore.cli import main

SIGNAL, COUNT = signal.Signals(int(sys.argv[1])), int(sys.argv[2])
_sync = os.fsync
_calls = 0


def counted(descriptor: int) -> None:
    global _calls
    _calls += 1
    if _calls == COUNT:
        os.kill(os.getpid(), SIGNAL)
    _sync(descriptor)


os.fsync = counted
sys.argv[:3] = ["prunecore"]
sys.exit(main(sys.argv[1:]))
