# SPDX-License-Identifier: Apache-2.0
"""The names that options allow. The tables themselves are generated from the C header."""

from __future__ import annotations

from typing import Literal

from prunecore._native import names_generated as generated

Compute = generated.Compute
Estimator = generated.Estimator
Granularity = generated.Granularity
Input = generated.Input
Kind = generated.AdapterKind
Measure = generated.Measure
Objective = generated.Objective
Part = generated.Part
RelativeTo = generated.RelativeTo
Slot = generated.Slot
Start = generated.Start
Strategy = generated.Strategy
Stream = generated.Stream
TokenChoice = generated.Tokens
Weights = generated.Weights
TrainedObjective = Literal["mse", "ce", "kl", "js"]

COMPUTE = generated.COMPUTE
ESTIMATOR = generated.ESTIMATOR
GRANULARITY = generated.GRANULARITY
INPUT = generated.INPUT
KIND = generated.ADAPTER_KIND
MEASURE = generated.MEASURE
OBJECTIVE = generated.OBJECTIVE
PART = generated.PART
RELATIVE_TO = generated.RELATIVE_TO
SLOT = generated.SLOT
START = generated.START
STRATEGY = generated.STRATEGY
STREAM = generated.STREAM
TOKENS = generated.TOKENS
WEIGHTS = generated.WEIGHTS

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

OBJECTIVES = OBJECTIVE.names
"""What adapters can be made for; all but the first are trained."""

STRATEGIES = STRATEGY.names
"""All strategies of searches; "default" stands for one of them."""
