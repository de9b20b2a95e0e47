# SPDX-License-Identifier: Apache-2.0
"""What both sides of a comparison agree on: the commands of a worker, and its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Commands = dict[str, Callable[..., Any]]


def token_ids(count: int, vocabulary: int) -> np.ndarray:
    """The sequence that all sides compute."""
    return np.random.default_rng(0).integers(0, vocabulary, count)
