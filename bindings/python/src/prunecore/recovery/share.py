# SPDX-License-Identifier: Apache-2.0
"""Weights of later sublayers as those of earlier ones and low-rank deltas: `Model.share`."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunecore._native import options_generated
from prunecore._native.library import ffi, lib, new_struct
from prunecore._native.names.tables import Objective
from prunecore._native.options_generated import ShareArguments
from prunecore._native.progress import ProgressFunction
from prunecore._native.signatures import takes
from prunecore.errors import ArgumentError
from prunecore.masks.mask import as_keep, keep_pointer
from prunecore.recovery.options import StepFunction, TrainingWatch, checkpoint_path
from prunecore.recovery.shared import Shared, SharingSummary, shared_weights

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


@dataclass(frozen=True, kw_only=True)
class ShareOptions(options_generated.ShareOptions):
    """The options of sharing: see `Model.share`."""

    held_out: Data | None = None

    def struct(self) -> Any:
        """The options for C. It borrows `held_out`, which must outlive its use."""
        if self.rank is not None and self.bytes is not None:
            raise ArgumentError("rank and bytes are both given: bytes say what each rank is")
        options = self.new()
        if self.held_out is not None:
            options.held_out = self.held_out.handle
        return options


@takes(ShareOptions)
def share(
    self: OpenModel,
    mask: MaskLike | None,
    data: Data | None = None,
    *,
    rank: int | None = None,
    bytes: int | None = None,
    objective: Objective = "closed_form",
    held_out: Data | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: ProgressFunction | None = None,
    on_step: StepFunction | None = None,
    **options: Unpack[ShareArguments],
) -> Shared:
    """Has what a mask removes use the weights of earlier sublayers and deltas: docs/sharing.md.

    Each projection W of a sublayer that the mask removes becomes that of an earlier one which it
    keeps, and a delta of low rank: W = base + U V. Norms and biases stay. The model stores less and
    computes as much.

    Parameters
    ----------
    mask : Mask or array, or None
        Whose weights become deltas; None = the model's mask.
    data : Data, optional
        What deltas are solved and trained on. Default: the matrices alone are approximated.
    held_out : Data, optional
        Training: data on which the best step is chosen. Default: a share of the data.
    checkpoint : path, optional
        A file for the state of training. If it exists, training resumes from it and ends with the
        same bits.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`, also within the steps of training; a true
        result stops the call with `Cancelled`, an exception stops it and is raised again.
    on_step : callable, optional
        Training: called with a `TrainingProgress` after every step; ends the call as `progress`
        does.

    Returns
    -------
    Shared
        The model, of which nothing is removed, and what each delta is.

    Raises
    ------
    ArgumentError
        The mask removes nothing; a sublayer has none before it to share with; an option is out of
        range.
    DataError
        There is nothing to predict, or there are too few sequences to hold some out.
    FormatError
        The checkpoint is damaged, or of another training.
    NonFiniteError
        A loss or a gradient was NaN or infinite; the text names step and layer.
    UnsupportedError
        A host runs the model; it has adapters; a mixture of experts is to share.
    """
    given = ShareOptions(rank=rank, bytes=bytes, objective=objective, held_out=held_out, **options)
    struct = given.struct()
    path = checkpoint_path(checkpoint)
    struct.checkpoint = path
    watch = TrainingWatch(progress, on_step)
    struct.progress = watch.callback
    struct.on_step = watch.step_callback
    pointer, n_keep = keep_pointer(as_keep(mask, self.shape.n_blocks))
    found = new_struct("prune_share_summary")
    source = ffi.NULL if data is None else data.handle

    def make(out: Any) -> int:
        status = lib.prune_model_share(self.handle, source, pointer, n_keep, struct, found, out)
        watch.check(status)
        return int(status)

    model = self._shared(make)
    return Shared(model, shared_weights(model), _summary(found))


def _summary(found: Any) -> SharingSummary:
    return SharingSummary(
        bytes_whole=found.bytes_whole,
        bytes_shared=found.bytes_shared,
        tokens=found.statistics_tokens,
        trained_tokens=found.trained_tokens,
        steps=found.steps,
        best_step=found.best_step,
        held_out_before=_known(found.held_out_before),
        held_out_best=_known(found.held_out_best),
        seconds=found.seconds,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
