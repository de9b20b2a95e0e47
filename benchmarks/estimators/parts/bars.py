# SPDX-License-Identifier: Apache-2.0
"""What the default estimator is held to, and whether it is so."""

from __future__ import annotations

from typing import Any

from benchmarks.estimators.parts.contenders import DEFAULT, PAIRED_KERNEL_SHAP
from benchmarks.estimators.parts.summary import Summary

FROM_BUDGET = 64
# Squared error against that of paired KernelSHAP at 128 evaluations.
AT_BUDGET = "128"
SHARE_AT_MOST = {"capped": 1 / 3, "raw": 1 / 50}
COVERAGE = (0.90, 0.98)


def bars(summary: Summary) -> list[dict[str, Any]]:
    """Every bar, what was found, and whether it is enough."""
    found: list[dict[str, Any]] = []

    def add(name: str, bar: str, value: str, met: bool) -> None:
        found.append({"name": name, "bar": bar, "found": value, "met": met})

    for loss, contenders in summary.items():
        default = contenders[DEFAULT]
        for budget, cell in default.items():
            if int(budget) < FROM_BUDGET:
                continue
            others = {
                name: cells[budget]["error"]
                for name, cells in contenders.items()
                if name != DEFAULT and cells[budget]["error"] is not None
            }
            best = min(others, key=others.__getitem__)
            error = cell["error"]
            add(
                f"{loss} loss, {budget} evaluations: error, against the best other ({best})",
                f"<= {others[best]:.1e}",
                "no estimate" if error is None else f"{error:.1e}",
                error is not None and error <= others[best],
            )
        if AT_BUDGET in default:
            error, theirs = (
                contenders[name][AT_BUDGET]["error"] for name in (DEFAULT, PAIRED_KERNEL_SHAP)
            )
            share = float("inf") if error is None else error / theirs
            add(
                f"{loss} loss, {AT_BUDGET} evaluations: error, against {PAIRED_KERNEL_SHAP}",
                f"<= 1/{1 / SHARE_AT_MOST[loss]:.0f}",
                f"1/{1 / share:.1f}",
                share <= SHARE_AT_MOST[loss],
            )
        for budget, cell in default.items():
            if int(budget) < FROM_BUDGET:
                continue
            coverage = cell["coverage"]
            add(
                f"{loss} loss, {budget} evaluations: coverage of 95 % intervals",
                "{:.2f} to {:.2f}".format(*COVERAGE),
                "none" if coverage is None else f"{coverage:.3f}",
                coverage is not None and COVERAGE[0] <= coverage <= COVERAGE[1],
            )
    return found
