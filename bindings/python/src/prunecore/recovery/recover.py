# SPDX-License-Identifier: Apache-2.0
"""Adapters in the place of what a mask removes: `Model.recover`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from prunecore._native.library import lib
from prunecore._native.names.tables import Input, Kind, Objective, Slot, Start, Stream
from prunecore._native.progress import ProgressFunction
from prunecore.masks.mask import as_keep, keep_pointer
from prunecore.recovery.adapters import Adapters
from prunecore.recovery.options import RecoverOptions, StepFunction, TrainingWatch

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


def recover(
    self: OpenModel,
    mask: MaskLike | None,
    data: Data,
    kind: Kind = "low_rank",
    rank: int | Literal["auto"] = 16,
    objective: Objective = "closed_form",
    *,
    start: Start = "closed_form",
    stream: Stream = "recovered",
    input: Input = "normed",
    block_slot: Slot = "attention",
    ridge: float | None = None,
    held_out: Data | None = None,
    held_out_share: float | None = None,
    seed: int = 0,
    initial: Adapters | None = None,
    steps: int | None = None,
    step_tokens: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    warmup_steps: int | None = None,
    clip_norm: float | None = None,
    evaluate_every: int | None = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    batch_tokens: int | None = None,
    memory_budget: int | None = None,
    progress: ProgressFunction | None = None,
    on_step: StepFunction | None = None,
) -> Adapters:
    """Makes adapters that emulate what a mask removes. Formulas: docs/recovery.md.

    Parameters
    ----------
    mask : Mask or array, or None
        What is removed; None = the model's mask.
    data : Data
        What the adapters learn from. Token weights count in the objectives ce, kl and js.
    kind : {"low_rank", "bias", "linear"}
        A map of low rank and a constant; the constant alone (the mean update, emulated); a whole
        matrix and the constant.
    rank : int or "auto"
        Of low_rank. "auto": chosen among powers of two by what held-out tokens lose.
    objective : {"closed_form", "mse", "ce", "kl", "js"}
        Least squares of each update, solved; or trained: hidden state of the full model, next
        token, or the full model's distribution of it by Kullback-Leibler or Jensen-Shannon.
    start : {"closed_form", "zero"}
        Where training starts: the closed form, or adapters that add nothing.
    stream : {"recovered", "full_model"}
        The hidden states that the closed form learns from: along the pruned and already recovered
        model, or the full model's, in one pass.
    input : {"normed", "raw"}
        What matrices are applied to: the hidden state after the norm of the removed sublayer, or
        as it is.
    block_slot : {"attention", "feed_forward", "both"}
        Where the adapter of a block that is removed whole stands; "both": one each.
    ridge : float, optional
        Added to the diagonal of the input's covariance, as a share of its mean. Default: chosen on
        held-out tokens.
    held_out : Data, optional
        What ridge, rank and the best step are chosen by. Default: a share of the data.
    held_out_share : float, optional
        Of the data's sequences, drawn by seed; default 0.1. Of use without `held_out`.
    seed : int
        Of held-out share, first weights and batches.
    initial : Adapters, optional
        Adapters of the same mask to train on from.
    steps, step_tokens : int, optional
        Of training, default 300; and tokens of a step, in whole sequences, default 2048.
    learning_rate : float, optional
        At its highest. Default: by kind and hidden size.
    weight_decay : float, optional
        Of AdamW, on matrices. Default: none.
    warmup_steps : int, optional
        Over which the learning rate rises, to fall as a cosine then. Default: a tenth of all.
    clip_norm : float, optional
        Largest norm of all gradients together, default 1; infinity = no bound.
    evaluate_every : int, optional
        Steps between two looks at the held-out loss. Default: a twentieth of all.
    patience : int, optional
        Looks without a lower held-out loss after which training ends. Default: no such end. The
        adapters of the best look are kept either way.
    checkpoint : path, optional
        A file for the state of training. Where it exists, training resumes from it and ends with
        the same bits.
    checkpoint_every : int, optional
        Steps between two. Default: at every look at the held-out loss.
    batch_tokens : int, optional
        Tokens computed together at most. Default: chosen by the library.
    memory_budget : int, optional
        Bytes of statistics at most. Default: a quarter of the memory that is free.
    progress : callable, optional
        Of the closed form: called as `progress(stage, done, total, seconds)`; a true result stops
        the call with `Cancelled`, an exception stops it and is raised again.
    on_step : callable, optional
        Called with a `TrainingProgress` after every step; ends the call as `progress` does. A
        checkpoint, where there is one, then holds that step.

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
        start=start,
        stream=stream,
        input=input,
        block_slot=block_slot,
        ridge=ridge,
        held_out=held_out,
        held_out_share=held_out_share,
        seed=seed,
        initial=initial,
        steps=steps,
        step_tokens=step_tokens,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_steps=warmup_steps,
        clip_norm=clip_norm,
        evaluate_every=evaluate_every,
        patience=patience,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        batch_tokens=batch_tokens,
        memory_budget=memory_budget,
    )
    pointer, n_keep = keep_pointer(as_keep(mask, self.shape.n_blocks))
    options = given.struct()
    path = given.checkpoint_bytes()
    options.checkpoint = path
    watch = TrainingWatch(progress, on_step)
    options.progress = watch.callback
    options.on_step = watch.step_callback

    def make(out: Any) -> int:
        status = lib.prune_model_recover(self.handle, data.handle, pointer, n_keep, options, out)
        watch.check(status)
        return int(status)

    return Adapters(make, {"model": self.provenance, "data_sha256": data.digest})
