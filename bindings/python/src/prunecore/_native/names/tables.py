# SPDX-License-Identifier: Apache-2.0
"""The names that options allow, one table for each group of the C header's constants."""

from __future__ import annotations

from typing import Literal

from prunecore._native.names.choice import Choice

Compute = Literal["float32", "bfloat16"]
Granularity = Literal["sublayer", "block", "attention", "feed_forward"]
Input = Literal["normed", "raw"]
Kind = Literal["bias", "low_rank", "linear"]
Objective = Literal["closed_form", "mse", "ce", "kl", "js"]
Part = Literal["bias", "down", "up", "matrix", "norm"]
RelativeTo = Literal["input", "output"]
Slot = Literal["attention", "feed_forward", "both"]
Start = Literal["closed_form", "zero"]
Stream = Literal["recovered", "full_model"]
TokenChoice = Literal["all", "last"]
TrainedObjective = Literal["mse", "ce", "kl", "js"]

COMPUTE: Choice[Compute] = Choice("compute", "COMPUTE", ("float32", "bfloat16"), unset="automatic")
ESTIMATOR: Choice[str] = Choice(
    "estimator",
    "ESTIMATOR",
    (
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
    ),
    default="default",
)
GRANULARITY: Choice[Granularity] = Choice(
    "granularity", "GRANULARITY", ("sublayer", "block", "attention", "feed_forward")
)
INPUT: Choice[Input] = Choice("input", "INPUT", ("normed", "raw"))
KIND: Choice[Kind] = Choice("kind", "ADAPTER", ("bias", "low_rank", "linear"))
MEASURE: Choice[str] = Choice(
    "measure", "MEASURE", ("loss", "logit_l2", "kl", "js", "choice_error", "choice_loss")
)
METRIC: Choice[str] = Choice(
    "metric",
    "METRIC",
    (
        "cosine",
        "angular",
        "l1",
        "l2",
        "relative_l1",
        "relative_l2",
        "magnitude",
        "leave_one_out_loss",
        "leave_one_out_logit_l2",
        "taylor",
    ),
)
OBJECTIVE: Choice[Objective] = Choice(
    "objective", "OBJECTIVE", ("closed_form", "mse", "ce", "kl", "js")
)
PART: Choice[Part] = Choice("part", "PART", ("bias", "down", "up", "matrix", "norm"))
RELATIVE_TO: Choice[RelativeTo] = Choice("relative_to", "RELATIVE_TO", ("input", "output"))
SLOT: Choice[Slot] = Choice("block_slot", "SLOT", ("attention", "feed_forward", "both"))
START: Choice[Start] = Choice("start", "START", ("closed_form", "zero"))
STRATEGY: Choice[str] = Choice(
    "strategy",
    "STRATEGY",
    ("one_shot", "greedy", "window", "tail", "evolutionary", "random"),
    default="default",
)
STREAM: Choice[Stream] = Choice("stream", "STREAM", ("recovered", "full_model"))
TOKENS: Choice[TokenChoice] = Choice("tokens", "TOKENS", ("all", "last"))

ADAPTER_KINDS = KIND.names
"""What an adapter can compute: a constant; that and a map of low rank; that and a whole matrix."""

COMPUTE_TYPES = COMPUTE.names
"""What matrix products can multiply in."""

ESTIMATORS = ESTIMATOR.names
"""All estimators of games; "default" stands for one of them."""

GRANULARITIES = GRANULARITY.names
"""What can be scored and removed as one unit."""

MEASURES = MEASURE.names
"""What can be measured of a masked model; lower = better."""

METRICS = METRIC.names
"""All metrics, in the order of their bits: the order of the rows that the library writes."""

OBJECTIVES = OBJECTIVE.names
"""What adapters can be made for; all but the first are trained."""

STATIC_METRICS = METRICS[:7]
"""Those that one forward pass gives (magnitude needs none)."""

STATISTICS_METRICS = METRICS[:6]
"""Those that statistics hold."""

STRATEGIES = STRATEGY.names
"""All strategies of searches; "default" stands for one of them."""
