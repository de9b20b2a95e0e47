# SPDX-License-Identifier: Apache-2.0
"""Workers, and how they take turns, so that all of them meet the same states of the machine."""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import environment
from benchmarks.harness.places import REPOSITORY

WORKER = "benchmarks.harness.worker"
PAUSE = 0.3  # seconds: idle threads of the other side stop spinning
Answer = dict[str, Any]


class MeasurementError(Exception):
    """Something could not be measured; the text says why."""


class Worker:
    """A measuring process: see worker.py. `ready` is what it says of itself."""

    def __init__(self, prefix: list[str] | None = None, **wanted: Any) -> None:
        self._name = f"{wanted['side']} on {Path(wanted['model']).name}"
        wanted["model"] = str(Path(wanted["model"]).resolve())
        self._process = subprocess.Popen(
            [*(prefix or []), sys.executable, "-m", WORKER, json.dumps(wanted)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env=environment.cleaned(),
        )
        self._rest = b""
        try:
            self.ready: Answer = self._answer(None)["ready"]
        except BaseException:
            self.close()
            raise

    def ask(self, command: str, limit: float | None = None, **arguments: Any) -> Answer:
        """Has one command done; returns its seconds and its value. `limit` is in seconds."""
        line = json.dumps({"command": command, "arguments": arguments}) + "\n"
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended, which is what the missing answer says
        answer = self._answer(limit)
        if "error" in answer:
            raise MeasurementError(f"{self._name}: {command}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Ends the process and waits for it."""
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self, limit: float | None) -> Answer:
        """The next line; read without a buffer of Python's, which select() cannot see."""
        end = None if limit is None else time.monotonic() + limit
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([pipe], [], [], left)[0]:
                self._process.kill()
                raise MeasurementError(f"{self._name}: no answer within {limit:.0f} s")
            part = os.read(pipe, 1 << 20)
            if not part:
                raise MeasurementError(f"{self._name}: the worker ended early")
            self._rest += part
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)


@contextmanager
def workers(wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Worker]]:
    """Workers by name, closed at the end."""
    running: dict[str, Worker] = {}
    try:
        for name, what in wanted.items():
            running[name] = Worker(**what)
        yield running
    finally:
        for worker in running.values():
            worker.close()


def in_turns(
    tasks: Mapping[str, Callable[[], Answer]], rounds: int, warm_up: int
) -> dict[str, list[Answer]]:
    """Does every task once a round; returns the answers of the rounds after the warm-up."""
    answers: dict[str, list[Answer]] = {name: [] for name in tasks}
    for number in range(warm_up + rounds):
        # Every other round goes backwards, so that a drift of the machine favours nobody.
        for name in tasks if number % 2 == 0 else reversed(tasks):
            time.sleep(PAUSE)
            answer = tasks[name]()
            if number >= warm_up:
                answers[name].append(answer)
    return answers


def seconds(answers: list[Answer]) -> list[float]:
    """How long each of them took."""
    return [answer["seconds"] for answer in answers]


def ratios(over: list[float], under: list[float]) -> list[float]:
    """One ratio a round: what slows the machine for a whole round cancels."""
    return [a / b for a, b in zip(over, under, strict=True)]


def summary(values: list[float]) -> dict[str, Any]:
    """Median, extremes, and the values themselves."""
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "values": values,
    }
