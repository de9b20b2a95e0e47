# SPDX-License-Identifier: Apache-2.0
"""Fuzzes the Python readers: whatever a file holds, a reader raises `prunecore.Error` or reads it.

Executions run in child processes, which have little memory and two seconds for each input. What
ends in another exception, in a signal or not at all is kept in Tests/Fuzz/python/found.

    python Tests/Fuzz/python/run.py --executions 100000 --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import prunecore as pc
from mutations import mutate
from readers import Reader, readers

HANG_SECONDS = 2
MEMORY_BYTES = 1 << 30  # above what the process has when it starts
BATCH = 2000
HERE = Path(__file__).parent
FOUND, CORPUS = HERE / "found", HERE / "corpus"


class Hang(BaseException):
    """An execution took longer than it may."""


def execute(reader: Reader, path: Path, content: bytes) -> str | None:
    """Runs a reader on an input. Returns what is wrong, or None."""
    path.write_bytes(content)
    # Of this process's own time: others may have the machine.
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    try:
        reader.read(path)
    except (pc.Error, pc.LoadError):
        return None
    except BaseException as error:
        return "".join(traceback.format_exception(error)[-4:])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def _confine() -> None:
    """Takes from this process what a reader should not need."""
    resource.setrlimit(resource.RLIMIT_AS, (_taken() + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # panics of the tokenizers print

    def stop(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, stop)


def _batch(seed: int, names: list[str], folder: Path, count: int, kept: Path) -> int:
    """A child's work. The input under way lies in its folder, for the parent, should it die."""
    _confine()
    source, faults = random.Random(seed), 0
    everything = tuple(each for reader in readers().values() for each in reader.seeds)
    for number in range(count):
        name = source.choice(names)
        reader = readers()[name]
        content = mutate(source, source.choice(reader.seeds), everything)
        (folder / "reader").write_text(name)
        problem = execute(reader, _place(folder, name, reader), content)
        if problem is not None:
            faults += 1
            _keep(kept / f"{name}-{seed}-{number}", content, problem)
    return min(faults, 100)


def _corpus(folder: Path) -> int:
    """A child's work: every kept input must be refused, or read."""
    _confine()
    faults = 0
    for path in sorted(CORPUS.iterdir()):
        name = path.name.split("-")[0]
        reader = readers()[name]
        (folder / "reader").write_text(name)
        problem = execute(reader, _place(folder, name, reader), path.read_bytes())
        if problem is not None:
            faults += 1
            print(f"{path.name}: {problem}", flush=True)
    return min(faults, 100)


def _place(folder: Path, name: str, reader: Reader) -> Path:
    own = folder / name
    own.mkdir(exist_ok=True)
    return own / reader.name


def _taken() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _keep(path: Path, content: bytes, problem: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.with_name(f"{path.name}.txt").write_text(problem)


def _in_child(work: Callable[[Path], int], kept: Path) -> int:
    """Has a child work in a folder. Returns the number of faults; that it died is one."""
    with tempfile.TemporaryDirectory(prefix="prunecore-fuzz-") as made:
        folder = Path(made)
        child = os.fork()
        if child == 0:
            code = 101
            with contextlib.suppress(BaseException):
                code = work(folder)
            os._exit(code)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) <= 100:
            return os.WEXITSTATUS(status)
        name = (folder / "reader").read_text() if (folder / "reader").exists() else "none"
        path = _place(folder, name, readers()[name]) if name != "none" else folder / name
        content = path.read_bytes() if path.exists() else b""
        _keep(kept / f"{name}-died-{child}", content, f"the process ended with status {status}")
        return 1


def main() -> int:
    """Runs the campaign; returns 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=sorted(readers()))
    parser.add_argument("--keep", type=Path, default=FOUND, help="where failing inputs go")
    parser.add_argument("--corpus", action="store_true", help="run the kept inputs alone")
    given = parser.parse_args()
    if given.corpus:
        faults = _in_child(_corpus, given.keep)
        print(f"{len(list(CORPUS.iterdir()))} inputs, {faults} faults")
        return 1 if faults else 0
    names = given.only or sorted(readers())
    began, done, faults = time.monotonic(), 0, 0
    while done < given.executions:
        seed, count = given.seed * 1_000_000 + done // BATCH, min(BATCH, given.executions - done)
        faults += _in_child(
            lambda folder, seed=seed, count=count: _batch(seed, names, folder, count, given.keep),
            given.keep,
        )
        done += count
        if done % 100_000 == 0:
            print(f"{done} executions, {faults} faults", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    rate = done / max(seconds, 1e-9)
    print(f"{done} executions of {len(names)} readers in {seconds:.0f} s ({rate:.0f} a second)")
    print(f"{faults} faults" + (f", kept in {given.keep}" if faults else ""))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
