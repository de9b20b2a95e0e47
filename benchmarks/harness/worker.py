# SPDX-License-Identifier: Apache-2.0
"""One side of a comparison, in a process of its own.

    python -m benchmarks.harness.worker '{"side": "prunecore", "model": DIRECTORY, ...}'

Opens the model, prints {"ready": {...}}, and then answers every command that it reads, a line of
JSON such as {"command": "evaluate", "arguments": {}}, with a line of JSON: its seconds and its
value, or an error. Sides share neither a process nor a BLAS, and the library's memory is measured
where PyTorch was never loaded. turns.py is the other end.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.harness.worker_protocol import Commands


def peak_bytes() -> int:
    """Most memory this process ever had resident, mapped files included.

    VmHWM begins anew with a program; ru_maxrss would still count that of the process that started
    this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def read_bytes() -> int:
    """Bytes read from storage for this process, page faults of mapped files included."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])


def serve(ready: dict[str, Any], commands: Commands) -> None:
    """Answers commands from standard input until it ends."""
    # What libraries print must not get between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    say({"ready": ready})
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.perf_counter()
        try:
            value = commands[asked["command"]](**asked["arguments"])
        except Exception as error:  # the other end decides what a failure means
            say({"error": f"{type(error).__name__}: {error}"})
            continue
        say({"seconds": time.perf_counter() - start, "value": value})


def main() -> None:
    """Opens what the command line says, and serves."""
    wanted = json.loads(sys.argv[1])
    if wanted.pop("side") == "prunecore":
        from benchmarks.harness import prunecore_side as side
    else:
        from benchmarks.harness import torch_side as side
    ready, commands = side.opened(**wanted)
    common: Commands = {"peak_bytes": peak_bytes, "read_bytes": read_bytes}
    serve(ready, {**commands, **common})


if __name__ == "__main__":
    main()
