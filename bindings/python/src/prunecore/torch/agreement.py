# SPDX-License-Identifier: Apache-2.0
"""Whether two ways to compute logits give the same ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 2e-2}
_COARSE = 1e-1
"""Of bf16, relative to the largest logit: as coarse as sums in another order make it."""


def apart(found: Tensor, wanted: Tensor, dtype: torch.dtype | None = None) -> float | None:
    """The largest difference between logits; None where they are the same but for rounding.

    Parameters
    ----------
    found, wanted : Tensor
        Of one shape, on any devices.
    dtype : dtype, optional
        In which they were computed. Default: that of `wanted`.
    """
    tolerance = _TOLERANCES.get(dtype or wanted.dtype, _COARSE)
    expected = wanted.detach().float().cpu()
    difference = float((found.detach().float().cpu() - expected).abs().max())
    limit = tolerance * float(expected.abs().max())
    return None if np.isfinite(difference) and difference <= limit else difference
