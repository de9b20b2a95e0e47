# SPDX-License-Identifier: Apache-2.0
"""Training of weights that a mask keeps, in PyTorch: `WrappedModel.heal`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from prunecore._native.numbers import checked_count
from prunecore._native.progress import ProgressFunction
from prunecore.errors import ArgumentError, DataError
from prunecore.masks.mask import Mask, as_keep
from prunecore.recovery.healed import Healed
from prunecore.recovery.healing_options import HealingObjective, HealingOptions, Schedule
from prunecore.recovery.trained_names import USUAL, trained_names
from prunecore.recovery.training_sequences import hold_out, predicting
from prunecore.torch.applied_mask import check_whole
from prunecore.torch.healing_checkpoint import HealingCheckpoint, weights_digest
from prunecore.torch.healing_loop import HealingLoop
from prunecore.torch.healing_objective import HealingObjective as Objective
from prunecore.torch.prunable import PrunableModel
from prunecore.torch.student import trained_student
from prunecore.torch.teachers import teacher_of
from prunecore.torch.tied_head import is_tied
from prunecore.torch.training_batch import TrainingData

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel

Wrapped = TypeVar("Wrapped", bound=PrunableModel)

_CPU_TOKENS = 2048
_ACCELERATOR_TOKENS = 16384


def heal(
    self: Wrapped,
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
    batch_tokens: int | None = None,
    in_place: bool = False,
) -> Healed[Wrapped]:
    """Trains chosen weights of what a mask keeps, by AdamW. Formulas: docs/healing.md.

    The module computes in its own type and in evaluation mode, without dropout; where that type is
    bf16 or fp16, the optimiser moves copies in fp32. Beside the model, each trained number takes 16
    bytes (weight, two moments and gradient in fp32), 4 for the best weights so far, and the bytes
    of a new weight. Without `in_place`, the result holds a copy of all other weights, too.

    Parameters
    ----------
    data : Data
        What is learnt from. Token weights count: with 0 for all but answers, only answers do.
    mask : Mask or array, optional
        What is removed. Default: the model's mask.
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
        Of the order of the sequences, and of the share held out: the order in which the library
        itself trains.
    checkpoint : path, optional
        A file for the state of training, written at every look. If it exists, training resumes
        from it and ends with the same bits, where PyTorch computes the same bits twice.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)` after each step, and within looks; a true
        result stops the call with `Cancelled`, an exception stops it and is raised again.
    batch_tokens : int, optional
        Tokens computed together at most; a longer sequence is computed alone. Default: 2,048 on a
        CPU, 16,384 on a GPU.
    in_place : bool
        Whether the module itself gets the trained weights, when all is done. Default: it stays as
        it is, and the result is a copy.

    Returns
    -------
    Healed
        `healed.model` is a wrapped model with the mask set.

    Raises
    ------
    ArgumentError
        An option is out of range; `train` names what is not there, is removed, or is tied; the
        teacher has another vocabulary; a mask is applied; the checkpoint is of another training.
    DataError
        There is nothing to predict, or there are too few sequences to hold some out.
    FormatError
        The checkpoint is damaged.
    NonFiniteError
        A loss or a gradient was NaN or infinite; the text names the step.
    UnsupportedError
        What is to be trained is quantised.
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
    self.host.decoder.check_evaluating()
    check_whole(self.module)
    keep = as_keep(self.mask if mask is None else mask, self.shape.n_blocks)
    assert keep is not None
    trained = trained_names(train, keep)
    trained.check_head(tied=is_tied(self.module), untie=options.untie_head)
    if objective == "ce" and teacher is not None:
        raise ArgumentError("objective ce has no teacher: leave it out, or use kl or js")
    taught = None if objective == "ce" else teacher_of(teacher, self)
    learnt, held_out = (data, held_out) if held_out is not None else hold_out(data, options.seed)
    for name, given in (("data", learnt), ("held_out", held_out)):
        _check_data(self, name, given)
    provenance = {
        "method": "heal",
        "model": self.provenance,
        "removed": Mask(keep).removed,
        "data_sha256": data.digest,
        "held_out_sha256": held_out.digest,
        "train": list(trained.names),
        "teacher": None if taught is None else (teacher or self).provenance,
        **options.to_dict(),
    }
    most = _batch_tokens(self, batch_tokens)
    file = None
    if checkpoint is not None:
        more = {"batch_tokens": most, "weights_sha256": weights_digest(self.module)}
        if isinstance(teacher, PrunableModel):
            more["teacher_sha256"] = weights_digest(teacher.module)
        file = HealingCheckpoint(checkpoint, {**provenance, **more})
    with trained_student(self, keep, trained, untie_head=options.untie_head) as student:
        vocabulary = self.host.vocabulary_size
        state = HealingLoop(
            Objective(student.decoder, vocabulary, objective, taught),
            student.parameters,
            options,
            (TrainingData(learnt, most), predicting(learnt)),
            (TrainingData(held_out, most), predicting(held_out)),
            checkpoint=file,
            progress=progress,
        ).run()
    healed = self.again(student.given_back(self.module) if in_place else student.kept())
    healed.mask = Mask(keep)
    return Healed(
        model=healed,
        mask=mask if isinstance(mask, Mask) else Mask(keep),
        history=tuple(state.history),
        loss_before=state.history[0].held_out_loss,
        loss_after=state.best_loss,
        steps=state.step,
        best_step=state.best_step,
        trained_parameters=student.parameters.count,
        trained_tokens=state.trained_tokens,
        seconds=state.seconds,
        provenance=provenance,
    )


def _batch_tokens(model: PrunableModel, given: int | None) -> int:
    if given is not None:
        return checked_count("batch_tokens", given)
    on_cpu = model.host.decoder.input_device.type == "cpu"
    return _CPU_TOKENS if on_cpu else _ACCELERATOR_TOKENS


def _check_data(model: PrunableModel, name: str, data: Data) -> None:
    if not predicting(data):
        raise DataError(
            f"{name} has nothing to predict: every sequence has one token, or every token weight "
            "is 0; give longer sequences"
        )
    largest = max(int(row.max()) for row in data.sequences)
    if largest >= model.host.vocabulary_size:
        raise DataError(
            f"{name} has token {largest}, but the model's vocabulary has "
            f"{model.host.vocabulary_size} tokens"
        )
    model.host.check_tokens(largest, data.longest)
