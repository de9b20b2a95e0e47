# SPDX-License-Identifier: Apache-2.0
"""Damages: what a model is worth under many masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.given import listed
from prunecore._native.library import ffi, lib, new_struct
from prunecore._native.names.tables import MEASURE, Measure
from prunecore._native.options_generated import CoalitionArguments
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.signatures import takes
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Keep, Mask
from prunecore.measures.options import CoalitionOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


@dataclass(frozen=True)
class WalkReport:
    """What evaluating some masks took.

    Attributes
    ----------
    sublayers_computed : int
        Sublayers applied, each counted once per batch of tokens. Masks share what they agree on
        from the first sublayer on.
    sublayers_naive : int
        Sublayers that it would have taken mask by mask.
    tokens : int
        Of the data.
    seconds : float
        How long it took.
    """

    sublayers_computed: int
    sublayers_naive: int
    tokens: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Damages:
    """A measure of a model under several masks.

    Attributes
    ----------
    measure : str
        What was measured, such as "loss".
    values : array of float, shape (n_masks,)
        A damage: lower = better.
    report : WalkReport
        What it took.
    """

    measure: str
    values: npt.NDArray[np.float64]
    report: WalkReport

    def __len__(self) -> int:
        return len(self.values)


@takes(CoalitionOptions)
def damages(
    self: OpenModel,
    data: Data,
    masks: Sequence[MaskLike] | npt.NDArray[Any] | None = None,
    measure: Measure = "loss",
    *,
    cap: float | None = None,
    reference: MaskLike | None = None,
    progress: ProgressFunction | None = None,
    **options: Unpack[CoalitionArguments],
) -> Damages:
    """Measures the model under many masks, as one walk over their prefix tree.

    Masks share what they agree on from the first sublayer on, so give them all at once, in any
    order.

    Parameters
    ----------
    data : Data
        What is measured on.
    masks : sequence of Mask, or array of 0 and 1 with shape (n_masks, 2 * n_blocks)
        Default: the model's own mask alone.
    measure : str
        "loss", "logit_l2", "kl", "js" (distances of the logits from those of the reference), or,
        for multiple-choice data, "choice_error" and "choice_loss".
    cap : float, optional
        Largest value that counts: a value above it counts as the cap. Default: no cap.
    reference : Mask or array, optional
        The mask whose logits distances are taken to. Default: everything kept.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`; a true result stops the call with
        `Cancelled`, an exception stops it and is raised again.

    Raises
    ------
    DataError
        Ids outside the vocabulary, nothing to predict, or no choices in the data.
    NonFiniteError
        NaN or infinity was met; the text names the layer.
    """
    name = MEASURE.parse(measure)
    if isinstance(cap, str):
        raise ArgumentError(f"cap is '{cap}', but must be a number or None")
    table = _mask_table(masks, self)
    watch = Watch(progress)
    measured = CoalitionOptions(measure=name, cap=cap, reference=self._keep(reference), **options)
    struct, _reference = measured.struct(self.shape.n_blocks, watch)
    if table is not None and len(table) == 0:
        return Damages(
            name,
            np.empty(0),
            WalkReport(sublayers_computed=0, sublayers_naive=0, tokens=data.n_tokens, seconds=0.0),
        )
    count, length = (1, 0) if table is None else table.shape
    rows = ffi.NULL if table is None else ffi.from_buffer("uint8_t[]", table)
    values = np.empty(count)
    out = ffi.from_buffer("double[]", values)
    report = new_struct("prune_walk_report")
    watch.check(
        lib.prune_model_damages(self.handle, data.handle, rows, count, length, struct, out, report)
    )
    return Damages(
        measure=name,
        values=values,
        report=WalkReport(
            sublayers_computed=report.sublayers_computed,
            sublayers_naive=report.sublayers_naive,
            tokens=report.tokens,
            seconds=report.seconds,
        ),
    )


def _mask_table(masks: Any, model: OpenModel) -> Keep | None:
    """Masks as rows of bytes; None = the model's own."""
    if masks is None:
        return None
    if isinstance(masks, Mask):
        raise ArgumentError("masks is a single mask, but must be a list of them, or a 2-D array")
    rows: list[Keep] = []
    for mask in listed("masks", masks):
        keep = model._keep(mask)
        if keep is None:
            raise ArgumentError("one of the masks is None")
        rows.append(keep)
    return np.stack(rows) if rows else np.empty((0, 2 * model.shape.n_blocks), dtype=np.uint8)
