# SPDX-License-Identifier: Apache-2.0
"""The machine that results belong to, and the environment of what is measured."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path
from typing import Any

# The first makes OpenBLAS use other kernels than those that fit the CPU, the second makes models
# compute in another type than the one that is measured.
UNSET = ("OPENBLAS_CORETYPE", "PRUNECORE_COMPUTE", "PRUNECORE_LOOPS")


def machine() -> dict[str, Any]:
    """The CPU, its cores and what else they did, the system, Python and the day."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    parts = [f"{key} {cpu[key].strip()}" for key in ("cpu family", "model") if key in cpu]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": ", ".join([cpu.get("model name", platform.machine()).strip(), *parts]),
        "cores": processors(),
        "memory_bytes": pages,
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def processors() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0))


def described(where: dict[str, Any]) -> str:
    """One line of what `machine` found."""
    return (
        f"{where['cpu']}, {where['cores']} cores, {where['memory_bytes'] / 2**30:.0f} GiB, "
        f"load {where['load_before']} before; {where['system']}; {where['date']}"
    )


def removed() -> dict[str, str]:
    """What `cleaned` leaves out."""
    return {name: os.environ[name] for name in UNSET if name in os.environ}


def cleaned() -> dict[str, str]:
    """The environment of measured processes."""
    return {name: value for name, value in os.environ.items() if name not in UNSET}
