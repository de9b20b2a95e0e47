# SPDX-License-Identifier: Apache-2.0
"""Names of estimators and of damages, and the header's numbers for them."""

from __future__ import annotations

from prunecore._raw_generated import ffi
from prunecore.errors import ArgumentError

ESTIMATORS: tuple[str, ...] = (
    "exact",
    "leave_one_out",
    "random_subnetworks",
    "permutation",
    "antithetic",
    "truncated",
    "stratified",
    "kernel_shap",
    "surrogate",
    "banzhaf",
    "pair_differences",
)
"""All estimators of games; "default" stands for one of them."""

MEASURES: tuple[str, ...] = ("loss", "logit_l2", "kl", "js", "choice_error", "choice_loss")
"""What a masked model is measured by: damages, lower = better."""


def parse_estimator(name: str) -> str:
    """Reads the name of an estimator; "kernel-shap" counts as "kernel_shap"."""
    wanted = str(name).strip().replace("-", "_")
    if wanted in ESTIMATORS or wanted == "default":
        return wanted
    known = ", ".join(ESTIMATORS)
    raise ArgumentError(f"unknown estimator '{name}': the estimators are {known} and default")


def estimator_value(name: str) -> int:
    """The header's value for an estimator."""
    return int(ffi.integer_const(f"PRUNE_ESTIMATOR_{name.upper()}"))


def estimator_name(value: int) -> str:
    """The estimator that the header's value stands for."""
    return next(name for name in ESTIMATORS if estimator_value(name) == value)


def parse_measure(name: str) -> str:
    """Reads the name of a measure; "logit-l2" counts as "logit_l2"."""
    wanted = str(name).strip().replace("-", "_")
    if wanted in MEASURES:
        return wanted
    raise ArgumentError(f"unknown measure '{name}': the damages are {', '.join(MEASURES)}")


def measure_value(name: str) -> int:
    """The header's value for a measure."""
    return int(ffi.integer_const(f"PRUNE_MEASURE_{name.upper()}"))
