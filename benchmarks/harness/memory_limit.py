# SPDX-License-Identifier: Apache-2.0
"""Processes that may use only so much memory, the page cache of what they read included."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.turns import MeasurementError

GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limit:
    """A control group of Linux."""

    directory: Path
    version: int

    @property
    def prefix(self) -> list[str]:
        """What to put before a command so that it runs under the limit from its start on."""
        enter = f'echo $$ > "{self.directory}/cgroup.procs" && exec "$@"'
        return ["sh", "-c", enter, "sh"]

    def peak_bytes(self) -> int | None:
        """Most memory that the group used, page cache included; None where that is not kept."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        with suppress(OSError):
            return int((self.directory / name).read_text())
        return None


@contextmanager
def limited(limit_bytes: int) -> Iterator[Limit]:
    """A group whose processes share this much memory, without swap; removed at the end.

    Raises `MeasurementError` where this process may not make one: it takes root.
    """
    version = 2 if (GROUPS / "cgroup.controllers").exists() else 1
    parent = GROUPS if version == 2 else GROUPS / "memory"
    directory = parent / f"prunecore-bench-{os.getpid()}"
    try:
        if version == 2 and "memory" not in (parent / "cgroup.subtree_control").read_text():
            (parent / "cgroup.subtree_control").write_text("+memory")
        directory.mkdir()
    except OSError as error:
        raise MeasurementError(
            f"memory cannot be limited: no control group under {parent} ({error.strerror}); run "
            "as root, on a system that offers memory control groups"
        ) from error
    try:
        names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if version == 2:
            (directory / "memory.max").write_text(str(limit_bytes))
            names = ("memory.swap.max",)
        else:
            (directory / names[0]).write_text(str(limit_bytes))
            names = names[1:]
        for name in names:  # swap: there may be none, or no accounting of it
            with suppress(OSError):
                (directory / name).write_text("0" if version == 2 else str(limit_bytes))
        yield Limit(directory, version)
    finally:
        remove(directory)


def remove(directory: Path) -> None:
    """Ends what still runs in a group, and removes it."""
    for _ in range(50):
        for process in (directory / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        with suppress(OSError):
            directory.rmdir()
            return
        time.sleep(0.1)


def forget(directory: Path) -> None:
    """Drops a directory's files from the page cache, so that they are read from storage again."""
    for file in directory.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # pages that are not written yet cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
