# SPDX-License-Identifier: Apache-2.0
"""The estimators' results as a page of text."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version
from typing import Any

import prunecore as pc

from benchmarks.estimators.parts.contenders import CONTENDERS
from benchmarks.estimators.parts.summary import Cell, error_at
from benchmarks.harness.report import MET, table

LOSSES = {"capped": "loss capped at ln(vocabulary)", "raw": "loss as it is"}
EQUAL_COSTS = {"blocks": (256, 512, 1024, 2048, 4096), "sublayers": (1024, 2048, 4096, 8192)}


def versions() -> dict[str, str]:
    """What took part."""
    packages = {name: version(name) for name in ("shapiq", "numpy")}
    return {"prunecore": pc.__version__, **packages, "python": platform.python_version()}


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = _head(results)
    if results["bars"]:
        rows = [[b["name"], b["bar"], b["found"], MET[b["met"]]] for b in results["bars"]]
        lines += table(["what", "bar", "found", "met"], rows)
    for loss, contenders in results["summary"].items():
        lines += [f"## {LOSSES[loss][0].upper()}{LOSSES[loss][1:]}", ""]
        lines += _losses(contenders, EQUAL_COSTS[results["form"]])
    return "\n".join([*lines, *_foot(results), ""])


def _losses(contenders: dict[str, dict[str, Cell]], costs: tuple[int, ...]) -> list[str]:
    """All tables of one loss."""
    budgets = list(next(iter(contenders.values())))
    shapley = {n: c for n, c in contenders.items() if CONTENDERS[n].estimates_shapley}
    judged = {n: c for n, c in shapley.items() if CONTENDERS[n].has_errors}
    ranking = {n: c for n, c in contenders.items() if n not in shapley}

    def one(cell: Cell) -> str:
        return f"{_power(cell['error'])} / {_fixed(cell['spearman'], 2)}"

    def only_rank(cell: Cell) -> str:
        return f"- / {_fixed(cell['spearman'], 2)}"

    head = ["estimator", *(f"{budget} evaluations" for budget in budgets)]
    lines = ["Mean relative squared error / Spearman correlation with the exact ranking:", ""]
    rows = [[n, *(one(cells[b]) for b in budgets)] for n, cells in shapley.items()]
    rows += [[n, *(only_rank(cells[b]) for b in budgets)] for n, cells in ranking.items()]
    lines += table(head, rows)

    lines += ["Share of the exact values inside value +- 1.96 standard errors:", ""]
    rows = [[n, *(_fixed(cells[b]["coverage"], 3) for b in budgets)] for n, cells in judged.items()]
    lines += table(head, rows)

    lines += [
        "Sublayers computed, where each batch that an estimator asks for is walked as one prefix "
        "tree:",
        "",
    ]
    rows = [[n, *(f"{cells[b]['sublayers']:.0f}" for b in budgets)] for n, cells in shapley.items()]
    lines += table(head, rows)

    lines += ["Error at equal cost, between the budgets by interpolation of the logarithms:", ""]
    rows = [[n, *(_power(error_at(cells, c)) for c in costs)] for n, cells in shapley.items()]
    lines += table(["estimator", *(f"{cost} sublayers" for cost in costs)], rows)

    lines += ["Milliseconds of the estimator itself, evaluations not counted:", ""]
    rows = [[n, *(f"{c[b]['milliseconds']:.1f}" for b in budgets)] for n, c in contenders.items()]
    return lines + table(head, rows)


def _head(results: dict[str, Any]) -> list[str]:
    texts, seeds = results["texts"], results["seeds"]
    games = f"{len(texts)} text{'s' * (len(texts) > 1)} ({', '.join(texts)}), {seeds} seeds each"
    if results["form"] == "blocks":
        return [
            "# Shapley estimators on the games over the blocks",
            "",
            "Players are the 12 blocks of the embedded model; a coalition is what is kept; its "
            "worth is minus the loss on 8 sequences",
            "of 128 tokens. Exact values come from all 4,096 coalitions. Relative squared error: "
            "squared distance to the exact",
            f"values over their squared norm. Means over {games}. Made by",
            "`python -m benchmarks.estimators.estimators`. "
            "Leave-one-out takes 13 evaluations at any budget, and it and random subnetworks",
            "estimate no Shapley values, so that only their rankings are compared. A dash: a run "
            "had too few coalitions for an",
            "estimate, or there is no such figure.",
            "",
            *_pictures("estimators", "the games over the blocks"),
        ]
    lines = [
        "# Shapley estimators on the games over the sublayers",
        "",
        "Players are the 24 sublayers of the embedded model; the worth is minus the loss, capped "
        "at ln(vocabulary), on 2 sequences",
        f"of 64 tokens. Means over {games}.",
        "Made by `python -m benchmarks.estimators.estimators --sublayers`.",
        "The references are themselves estimates:",
        "",
    ]
    rows = [
        [
            text,
            f"{found['permutations']}",
            f"{found['distinct_evaluations']}",
            _power(found["relative_squared_error"]),
        ]
        for text, found in results["references"].items()
    ]
    head = ["text", "permutations", "distinct coalitions", "expected relative squared error of it"]
    return [
        *lines,
        *table(head, rows),
        *_pictures("estimators_sublayers", "the games over the sublayers"),
    ]


def _pictures(name: str, game: str) -> list[str]:
    images = "../../docs/images"
    return [
        f"![Error by evaluations on {game}]({images}/{name}.png)",
        f"![Error by sublayers computed on {game}]({images}/{name}_cost.png)",
        "",
    ]


def _foot(results: dict[str, Any]) -> list[str]:
    where, removed = results["machine"], results["removed_from_environment"]
    return [
        f"- machine: {where['cpu']}, {where['cores']} cores, load {where['load_before']} before; "
        f"{where['system']}; {where['date']}; {results['seconds']:.0f} s",
        "- " + ", ".join(f"{name} {number}" for name, number in results["versions"].items()),
        "- removed from the environment: "
        + (", ".join(f"{name}={value}" for name, value in removed.items()) or "nothing"),
    ]


def _power(value: float | None) -> str:
    return "-" if value is None else re.sub(r"e(-?)\+?0*(\d)", r"e\1\2", f"{value:.1e}")


def _fixed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
