# SPDX-License-Identifier: Apache-2.0
"""Training of weights that a mask keeps, in the library: `Model.heal`."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from prunecore._native.handle import Handle
from prunecore._native.library import _check, ffi, lib, new_struct
from prunecore._native.numbers import checked_count
from prunecore._native.paths import as_path
from prunecore._native.progress import ProgressFunction
from prunecore._native.whole_file import check_place, make_parents
from prunecore.masks.mask import Mask, keep_pointer
from prunecore.recovery.healed import Healed, HealingRecord
from prunecore.recovery.healing_options import HealingObjective, HealingOptions, Schedule
from prunecore.recovery.options import StepFunction, TrainingWatch
from prunecore.recovery.trained_names import USUAL, trained_names

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel

Opened = TypeVar("Opened", bound="OpenModel")

_OBJECTIVES = {name: f"PRUNE_OBJECTIVE_{name.upper()}" for name in ("ce", "kl", "js")}


def heal(
    self: Opened,
    data: Data,
    mask: MaskLike | None = None,
    *,
    train: str | Iterable[str] = USUAL,
    objective: HealingObjective = "ce",
    teacher: OpenModel | None = None,
    steps: int = 100,
    batch_sequences: int = 8,
    learning_rate: float = 1e-5,
    schedule: Schedule = "linear",
    warmup_steps: int | None = None,
    weight_decay: float = 0.0,
    clip_norm: float | None = 1.0,
    held_out: Data | None = None,
    evaluate_every: int | None = None,
    patience: int | None = None,
    untie_head: bool = False,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: ProgressFunction | None = None,
    on_step: StepFunction | None = None,
    batch_tokens: int | None = None,
) -> Healed[Opened]:
    """Trains chosen weights of what a mask keeps, by AdamW. Formulas: docs/healing.md.

    AdamW moves weights in fp32; the model computes with them in its own type, and the result has
    them so: fp32 where it multiplies in float32, else the type that they were stored in, bf16 for
    quantised ones. Each trained number takes 24 bytes of memory at most. All other weights are
    shared with this model, which stays as it is.

    Parameters
    ----------
    data : Data
        What is learnt from. Token weights count: with 0 for all but answers, only answers do.
    mask : Mask or array, optional
        What is removed. Default: the model's mask. It may keep all.
    train : str or iterable of str
        What is trained: "head", "final_norm", "norms" (all of them), "embedding", "last:K" (the
        last K kept blocks), "block.I", "attn.I", "ffn.I", or "all". A text holds several with
        commas between.
    objective : {"ce", "kl", "js"}
        "ce": the loss of the tokens. "kl": KL(teacher || model) of the next-token distributions.
        "js": their Jensen-Shannon divergence.
    teacher : Model, optional
        For "kl" and "js", of the same vocabulary; its own mask holds. Default: the whole model as
        it is before.
    steps : int
        Steps of training.
    batch_sequences : int
        Sequences of each step.
    learning_rate : float
        At its highest.
    schedule : {"linear", "cosine", "constant"}
        How it falls after it has risen.
    warmup_steps : int, optional
        Steps over which it rises. Default: a tenth of all.
    weight_decay : float
        Of AdamW, on matrices.
    clip_norm : float, optional
        Largest norm of all gradients together; None = no bound.
    held_out : Data, optional
        What the losses before and after are of, and the best weights are chosen by. Default: a
        tenth of the data's sequences, drawn by seed, which are then not trained on.
    evaluate_every : int, optional
        Steps between two looks at the held-out loss. Default: a twentieth of all.
    patience : int, optional
        Looks without a lower held-out loss after which training ends. Default: no such end.
    untie_head : bool
        Whether a head that is one matrix with the embedding becomes a matrix of its own.
    seed : int
        Of the order of the sequences, and of the share held out.
    checkpoint : path, optional
        A file for the state of training, written at every look. If it exists, training resumes
        from it and ends with the same bits.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`, also within steps; a true result stops
        the call with `Cancelled`, an exception stops it and is raised again.
    on_step : callable, optional
        Called with a `TrainingProgress` after every step; ends the call as `progress` does.
    batch_tokens : int, optional
        Tokens computed together at most; a longer sequence is computed alone. Default: 2,048.

    Returns
    -------
    Healed
        `healed.model` is a model of its own, with the mask set.

    Raises
    ------
    ArgumentError
        An option is out of range; `train` names what is not there, is removed, or is tied; the
        teacher has another vocabulary.
    DataError
        There is nothing to predict, or there are too few sequences to hold some out.
    FormatError
        The checkpoint is damaged, or of another training.
    NonFiniteError
        A loss or a gradient was NaN or infinite; the text names step and layer.
    UnsupportedError
        A host runs the model, or the teacher.
    """
    options = HealingOptions(
        objective=objective,
        steps=steps,
        batch_sequences=batch_sequences,
        learning_rate=learning_rate,
        schedule=schedule,
        warmup_steps=warmup_steps,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        evaluate_every=evaluate_every,
        patience=patience,
        untie_head=untie_head,
        seed=seed,
    )
    keep = self._keep(mask)
    chosen = self.present(self.mask if keep is None else Mask(keep, edits=self.edits))
    trained = trained_names(train, chosen.keep)
    struct = _struct(options, ",".join(trained.names), batch_tokens)
    if held_out is not None:
        struct.value.held_out = held_out.handle
    if teacher is not None:
        struct.value.teacher = teacher.handle
    struct.keep("checkpoint", _checkpoint_bytes(checkpoint))
    watch = TrainingWatch(progress, on_step)
    struct.value.progress = watch.callback
    struct.value.on_step = watch.step_callback
    provenance: dict[str, Any] = {
        "method": "heal",
        "model": self.provenance,
        "removed": chosen.removed,
        "data_sha256": data.digest,
        "held_out_sha256": None if held_out is None else held_out.digest,
        "train": list(trained.names),
        "teacher": None if objective == "ce" else (teacher or self).provenance,
        **options.to_dict(),
    }
    pointer, n_keep = keep_pointer(chosen.keep)
    healing = ffi.new("prune_healing **")

    def make(out: Any) -> int:
        status = lib.prune_model_heal(
            self.handle, data.handle, pointer, n_keep, struct.value, out, healing
        )
        watch.check(status)
        return int(status)

    digest = hashlib.sha256(json.dumps(provenance, sort_keys=True).encode()).hexdigest()
    model = self._healed(make, digest)
    report = Handle("healing", "prune_healing", lambda out: _take(out, healing), _release)
    return _healed(model, chosen, report, provenance)


class _Struct:
    """Options for C, and what they borrow."""

    def __init__(self) -> None:
        self.value = new_struct("prune_healing_options")
        self._kept: list[Any] = []

    def keep(self, name: str, text: Any) -> None:
        """Sets a text that must live as long as the options."""
        self._kept.append(text)
        setattr(self.value, name, text)


def _struct(options: HealingOptions, train: str, batch_tokens: int | None) -> _Struct:
    """The plain options for C, checked where C would take a 0 for the default."""
    struct = _Struct()
    struct.keep("train", ffi.new("char[]", train.encode()))
    value = struct.value
    value.objective = int(ffi.integer_const(_OBJECTIVES[options.objective]))
    value.schedule = int(ffi.integer_const(f"PRUNE_SCHEDULE_{options.schedule.upper()}"))
    value.untie_head = int(bool(options.untie_head))
    value.steps, value.batch_sequences = int(options.steps), int(options.batch_sequences)
    value.learning_rate, value.weight_decay = options.learning_rate, options.weight_decay
    value.warmup_steps = options.warmup or -1
    unbound = options.clip_norm is None or options.clip_norm == math.inf
    value.clip_norm = -1.0 if unbound else float(options.clip_norm or 0.0)
    value.evaluate_every = int(options.look_interval)
    value.patience = 0 if options.patience is None else int(options.patience)
    value.seed = int(options.seed)
    if batch_tokens is not None:
        value.batch_tokens = checked_count("batch_tokens", batch_tokens)
    return struct


def _checkpoint_bytes(path: str | os.PathLike[str] | None) -> Any:
    """The checkpoint's path for C; NULL for none. Raises `FileError` if none can be there."""
    if path is None:
        return ffi.NULL
    file = as_path(path, "the checkpoint's path")
    check_place(file)
    make_parents(file)
    return ffi.new("char[]", os.fsencode(file))


def _take(out: Any, healing: Any) -> int:
    out[0] = healing[0]
    return int(lib.PRUNE_OK)


def _release(healing: Any) -> None:
    lib.prune_healing_release(healing)


def _healed(
    model: Opened, mask: Mask, report: Handle, provenance: dict[str, Any]
) -> Healed[Opened]:
    """What `heal` gives, read from the library."""
    summary = new_struct("prune_healing_summary")
    _check(lib.prune_healing_info(report.pointer, summary))
    count = ffi.new("size_t *")
    lib.prune_healing_history(report.pointer, ffi.NULL, 0, count)
    records = ffi.new("prune_healing_record[]", int(count[0]))
    _check(lib.prune_healing_history(report.pointer, records, len(records), ffi.NULL))
    return Healed(
        model=model,
        mask=mask,
        history=tuple(
            HealingRecord(
                step=int(record.step),
                learning_rate=_number(record.learning_rate),
                loss=_number(record.loss),
                held_out_loss=float(record.held_out_loss),
            )
            for record in records
        ),
        loss_before=float(summary.loss_before),
        loss_after=float(summary.loss_after),
        steps=int(summary.steps),
        best_step=int(summary.best_step),
        trained_parameters=int(summary.trained_parameters),
        trained_tokens=int(summary.trained_tokens),
        seconds=float(summary.seconds),
        provenance=provenance,
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
