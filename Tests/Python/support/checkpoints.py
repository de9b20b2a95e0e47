# SPDX-License-Identifier: Apache-2.0
"""Runs of games and searches that are stopped, killed and resumed from their checkpoints."""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import prunecore as pc
import pytest
from commands import stopped
from prunecore._native.run_file import RunFile

Kind = type[pc.Game] | type[pc.Search]
Result = TypeVar("Result")


class Stop(Exception):
    """Stands for whatever ends a run."""


def told_of(file: Path, kind: Kind) -> int:
    """Values that a checkpoint holds; 0 if it is not there."""
    if not file.exists():
        return 0
    with kind.load(file.read_bytes().partition(b"\n")[2]) as held:
        return held.state.told


def run_in_parts(
    call: Callable[..., Result],
    file: Path,
    kind: Kind,
    each: Callable[[Any], object] = lambda _: None,
) -> Result:
    """What a call gives that is stopped after every second batch, and resumed until it is done.

    What was done before is not done again, and each stop leaves all that was told in the file.
    `each` is called with every report of progress.
    """
    told = [0]

    def progress(found: Any) -> None:
        assert found.state.told > told[-1]
        each(found)
        told.append(found.state.told)
        if len(told) % 2 == 0:
            raise Stop

    for runs in itertools.count(1):  # noqa: B007  used after the loop
        try:
            result = call(checkpoint=file, progress=progress)
            break
        except Stop:
            assert told_of(file, kind) == told[-1]
    assert runs > 2
    return result


def killed(folder: Path, arguments: str, file: Path, kind: Kind, seed: int | str) -> list[int]:
    """Kills a command up to three times; what its checkpoint held before and after each time."""
    rng, told = random.Random(seed), [0]
    for _ in range(3):
        code = stopped(folder, arguments, signal.SIGKILL, rng.randint(5, 8)).returncode
        if code == 0:
            break
        assert code == -signal.SIGKILL and not (folder / "parts.json").exists()
        told.append(told_of(file, kind))
        assert told[-1] > told[-2]
    assert len(told) > 1, "the command wrote too few checkpoints to be killed at one"
    return told


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a checkpoint that is there cannot be written again."""
    saved = RunFile.save

    def save(self: RunFile, held: bytes) -> None:
        if self.path.exists():
            raise pc.FileError("the disk is full")
        saved(self, held)

    monkeypatch.setattr(RunFile, "save", save)
