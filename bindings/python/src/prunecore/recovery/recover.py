# SPDX-License-Identifier: Apache-2.0
"""Adapters in the place of what a mask removes: `Model.recover`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from prunecore._native.library import lib
from prunecore._native.names.tables import Kind, Objective
from prunecore._native.options_generated import RecoverArguments
from prunecore._native.progress import ProgressFunction
from prunecore._native.signatures import takes
from prunecore.masks.mask import keep_pointer
from prunecore.recovery.adapters import Adapters
from prunecore.recovery.options import RecoverOptions, StepFunction, TrainingWatch

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


@takes(RecoverOptions)
def recover(
    self: OpenModel,
    mask: MaskLike | None,
    data: Data,
    kind: Kind | Literal["default"] = "low_rank",
    rank: int | Literal["auto"] | None = 16,
    objective: Objective = "closed_form",
    *,
    held_out: Data | None = None,
    initial: Adapters | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: ProgressFunction | None = None,
    on_step: StepFunction | None = None,
    **options: Unpack[RecoverArguments],
) -> Adapters:
    """Makes adapters that emulate what a mask removes. Formulas: docs/recovery.md.

    Parameters
    ----------
    mask : Mask or array, or None
        What is removed; None = the model's mask.
    data : Data
        What the adapters learn from. Token weights count in the objectives ce, kl and js.
    held_out : Data, optional
        Data on which ridge, rank and the best step are chosen. Default: a share of the data.
    initial : Adapters, optional
        Adapters of the same mask that training continues from. Default: as `start` says.
    checkpoint : path, optional
        A file for the state of training. If it exists, training resumes from it and ends with the
        same bits.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`, also within the steps of training; a true
        result stops the call with `Cancelled`, an exception stops it and is raised again.
    on_step : callable, optional
        Training: called with a `TrainingProgress` after every step; ends the call as `progress`
        does. A checkpoint, where there is one, then holds that step.

    Returns
    -------
    Adapters
        `adapters.attach(model)` gives the recovered model.

    Raises
    ------
    ArgumentError
        The mask removes nothing; an option is out of range; `initial` is of another mask or model.
    DataError
        There is nothing to predict, or there are too few sequences to hold some out.
    FormatError
        The checkpoint is damaged, or of another training.
    NonFiniteError
        A loss or a gradient was NaN or infinite; the text names step and layer.
    UnsupportedError
        The objective is trained, and the model has no gradients.
    """
    given = RecoverOptions(
        kind=kind,
        rank=rank,
        objective=objective,
        held_out=held_out,
        initial=initial,
        checkpoint=checkpoint,
        **options,
    )
    pointer, n_keep = keep_pointer(self._keep(mask))
    struct = given.struct()
    path = given.checkpoint_bytes()
    struct.checkpoint = path
    watch = TrainingWatch(progress, on_step)
    struct.progress = watch.callback
    struct.on_step = watch.step_callback

    def make(out: Any) -> int:
        status = lib.prune_model_recover(self.handle, data.handle, pointer, n_keep, struct, out)
        watch.check(status)
        return int(status)

    return Adapters(make, {"model": self.provenance, "data_sha256": data.digest})
