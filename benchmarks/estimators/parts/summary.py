# SPDX-License-Identifier: Apache-2.0
"""Means over the runs of the estimators, as plain dictionaries that go to JSON."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.estimators.parts.trials import Trial

Cell = dict[str, float | int | None]
Summary = dict[str, dict[str, dict[str, Cell]]]  # capped or raw, contender, budget

# Where there are fewer coalitions than unknowns, a regression can be off by many powers of ten:
# such points are left out of pictures and of what is interpolated.
SINGULAR = 30.0


def summarise(trials: Sequence[Trial], sublayers_per_player: int) -> Summary:
    """Means over games and seeds, by loss, contender and budget."""
    groups: dict[tuple[str, str, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        loss = "capped" if trial.capped else "raw"
        groups[loss, trial.contender, str(trial.budget)].append(trial)
    found: Summary = {}
    for (loss, contender, budget), group in groups.items():
        cells = found.setdefault(loss, {}).setdefault(contender, {})
        cells[budget] = _cell(group, sublayers_per_player)
    return found


def _cell(group: Sequence[Trial], sublayers_per_player: int) -> Cell:
    errors = np.array([trial.error for trial in group])
    return {
        "error": _number(errors.mean()),
        "error_of_the_mean": _number(errors.std(ddof=1) / math.sqrt(len(group))),
        "spearman": _number(np.mean([trial.spearman for trial in group])),
        "coverage": _number(np.mean([trial.coverage for trial in group])),
        "evaluations": float(np.mean([trial.evaluations for trial in group])),
        "sublayers": sublayers_per_player * float(np.mean([t.players_computed for t in group])),
        "milliseconds": 1000 * float(np.mean([trial.seconds for trial in group])),
        "runs": len(group),
    }


def _number(value: Any) -> float | None:
    """None for NaN, which JSON does not know: there is no such figure, or a run had no estimate."""
    return float(value) if math.isfinite(value) else None


def readable(cell: Cell) -> bool:
    """Whether a cell has an error that means something."""
    return cell["error"] is not None and 0 < cell["error"] < SINGULAR


def error_at(cells: dict[str, Cell], sublayers: float) -> float | None:
    """The error at a cost, between the budgets by a straight line in the logarithms."""
    points = [(c["sublayers"], c["error"]) for c in cells.values() if readable(c)]
    points.sort()
    if not points or not points[0][0] <= sublayers <= points[-1][0]:
        return None
    cost, error = np.log(np.array(points)).T
    return float(np.exp(np.interp(math.log(sublayers), cost, error)))
