# SPDX-License-Identifier: Apache-2.0
"""The loss when each sublayer and each block is removed, in one walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore._native.progress import ProgressFunction
from prunecore.masks.mask import Mask
from prunecore.measures.damages import WalkReport, damages

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import Keep
    from prunecore.opened import OpenModel

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Removals:
    """Losses, nats per predicted token.

    Attributes
    ----------
    loss : float
        With everything that the mask keeps.
    sublayers : array or None, shape (2 * n_blocks,)
        Increase of the loss without each sublayer; NaN for those that the mask lacks. None where a
        model removes whole blocks only.
    blocks : array, shape (n_blocks,)
        The same without each block, or without what the mask keeps of it.
    report : WalkReport
        What it took.
    """

    loss: float
    sublayers: Values | None
    blocks: Values
    report: WalkReport


def remove_each(
    model: OpenModel,
    data: Data,
    keep: Keep,
    *,
    batch_tokens: int | None,
    progress: ProgressFunction | None,
) -> Removals:
    """Leaves out each sublayer and each block, alone."""
    units = [(2 * block, 2 * block + 1) for block in range(len(keep) // 2)]
    if model.shape.removes_sublayers:
        units += [(place,) for place in range(len(keep))]  # type: ignore[misc]
    masks = [keep.copy() for _ in range(len(units) + 1)]
    for mask, unit in zip(masks, units, strict=False):
        mask[list(unit)] = 0
    found = damages(
        model,
        data,
        [Mask(mask) for mask in masks],
        "loss",
        batch_tokens=batch_tokens,
        progress=progress,
    )
    loss = float(found.values[-1])
    kept = np.array([bool(keep[list(unit)].any()) for unit in units])
    increases = np.where(kept, found.values[:-1] - loss, np.nan)
    n_blocks = len(keep) // 2
    return Removals(
        loss=loss,
        sublayers=increases[n_blocks:] if len(increases) > n_blocks else None,
        blocks=increases[:n_blocks],
        report=found.report,
    )
