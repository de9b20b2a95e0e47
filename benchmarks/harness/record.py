# SPDX-License-Identifier: Apache-2.0
"""What a benchmark found: rows with their bars, timings, and what the sides say of themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import environment, models
from benchmarks.harness.turns import Answer, MeasurementError, Worker, seconds, summary, workers


@dataclass
class Record:
    """Rows in the order in which they were measured."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    timings: dict[str, dict[str, Any]] = field(default_factory=dict)
    sides: dict[str, Answer] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def judge(
        self,
        name: str,
        values: list[float],
        form: str,
        *,
        least: float | None = None,
        most: float | None = None,
    ) -> None:
        """Adds a row: the median of a value of each round, held to a bar if one is given."""
        found = summary(values)
        middle = found["median"]
        met = None
        bar = "recorded"
        if least is not None:
            met, bar = middle >= least, ">= " + form.format(least)
        elif most is not None:
            met, bar = middle <= most, "<= " + form.format(most)
        spread = ""
        if len(values) > 1:
            spread = f"{form.format(found['least'])} to {form.format(found['most'])}"
        self.rows.append(
            {
                "name": name,
                "bar": bar,
                "found": form.format(middle),
                "spread": spread,
                "met": met,
                **found,
            }
        )
        print(f"{name}: {form.format(middle)}, bar {bar}", file=sys.stderr, flush=True)

    def fail(self, name: str, reason: str) -> None:
        """Adds a row for what could not be measured: its bars count as missed."""
        self.rows.append(
            {
                "name": name,
                "bar": "",
                "found": f"not measured: {reason}",
                "spread": "",
                "met": False,
            }
        )
        print(f"{name}: not measured: {reason}", file=sys.stderr, flush=True)

    def time(self, name: str, answers: list[Answer]) -> list[float]:
        """Adds timings, and returns their seconds."""
        taken = seconds(answers)
        self.timings[name] = summary(taken)
        return taken

    def results(self, **settings: Any) -> dict[str, Any]:
        """What is written as JSON: the settings, then all that was found."""
        found = {"rows": self.rows, "timings": self.timings, "sides": self.sides}
        return {**settings, **found, "notes": self.notes}

    @property
    def missed(self) -> list[dict[str, Any]]:
        """Rows below their bar."""
        return [row for row in self.rows if row["met"] is False]


@dataclass
class Bench:
    """What the sections of the benchmark share."""

    models: Path
    threads: int
    rounds: int
    record: Record

    def ours(self, model: str, tokens: int, compute: str | None, **more: Any) -> dict[str, Any]:
        """What a worker of PruneCore is asked for."""
        return self._wanted("prunecore", model, tokens, compute, **more)

    def torch(self, model: str, tokens: int, compute: str, **more: Any) -> dict[str, Any]:
        """What a worker of transformers is asked for."""
        return self._wanted("torch", model, tokens, compute, **more)

    @contextmanager
    def running(self, wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Worker]]:
        """Workers by name, of which the record says what they are.

        Raises `MeasurementError` if one of ours does not compute in the type that was asked for.
        """
        with workers(wanted) as sides:
            for name, side in sides.items():
                asked, computes = wanted[name]["compute"], side.ready.get("compute")
                if wanted[name]["side"] == "prunecore" and asked not in (None, computes):
                    raise MeasurementError(f"{name} was asked for {asked}, computes {computes}")
                self.record.sides.setdefault(name, side.ready)
            yield sides

    def _wanted(self, side: str, model: str, tokens: int, compute: Any, **more: Any) -> Any:
        directory = models.made(model, self.models / model)
        wanted = {"side": side, "model": directory, "tokens": tokens, "threads": self.threads}
        return {**wanted, "compute": compute, **more}


def environment_notes() -> dict[str, Any]:
    """What the environment was, and what was taken out of it."""
    return {"machine": environment.machine(), "removed_from_environment": environment.removed()}


def free_bytes(directory: Path) -> int:
    """Bytes that may still be written where a directory lies."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
