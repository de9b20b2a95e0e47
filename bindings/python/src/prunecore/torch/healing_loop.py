# SPDX-License-Identifier: Apache-2.0
"""Steps of AdamW, looks at the held-out loss, and the state between them."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from prunecore._native.progress import ProgressFunction
from prunecore.errors import Cancelled, HostError, NonFiniteError
from prunecore.recovery.healed import HealingRecord
from prunecore.recovery.healing_options import HealingOptions
from prunecore.recovery.training_sequences import SequenceOrder
from prunecore.torch.failures import told
from prunecore.torch.healing_checkpoint import HealingCheckpoint
from prunecore.torch.healing_objective import HealingObjective
from prunecore.torch.trained_parameters import TrainedParameters
from prunecore.torch.training_batch import TrainingBatch, TrainingData

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_FIRST_SCALE = 65536.0


@dataclass
class HealingState:
    """Where a healing stands, but for the weights.

    Attributes
    ----------
    step : int
        Steps done.
    used : int
        Sequences taken so far, repetitions counted.
    trained_tokens : int
        Their tokens.
    loss_sum, loss_steps : float, int
        Losses of the steps since the last look, and how many they are.
    best_step, best_loss : int, float
        The look with the lowest held-out loss.
    looks_since_best : int
    loss_scale : float
        What the loss is multiplied by before gradients pass through fp16.
    seconds : float
    history : list of HealingRecord
    """

    step: int = 0
    used: int = 0
    trained_tokens: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    looks_since_best: int = 0
    loss_scale: float = 1.0
    seconds: float = 0.0
    history: list[HealingRecord] = field(default_factory=list)

    @classmethod
    def from_dict(cls, record: Any) -> HealingState:
        """Reads what `asdict` gives. KeyError, TypeError and ValueError say what is wrong."""
        blank = cls()
        numbers = {
            name: type(value)(record[name])
            for name, value in vars(blank).items()
            if name != "history"
        }
        return cls(**numbers, history=[HealingRecord.from_dict(row) for row in record["history"]])


class HealingLoop:
    """The training of some parameters.

    Parameters
    ----------
    objective : HealingObjective
    parameters : TrainedParameters
        What is moved.
    options : HealingOptions
    learnt, held_out : (TrainingData, list of int)
        What is trained on, and what the held-out loss is of: data, and which sequences of them.
    checkpoint : HealingCheckpoint, optional
    progress : callable, optional
    """

    def __init__(
        self,
        objective: HealingObjective,
        parameters: TrainedParameters,
        options: HealingOptions,
        learnt: tuple[TrainingData, list[int]],
        held_out: tuple[TrainingData, list[int]],
        *,
        checkpoint: HealingCheckpoint | None = None,
        progress: ProgressFunction | None = None,
    ) -> None:
        self._objective, self._parameters, self._options = objective, parameters, options
        self._data, self._order = learnt[0], SequenceOrder(learnt[1], options.seed)
        self._held_out = list(held_out[0].batches(held_out[1]))
        self._checkpoint, self._progress = checkpoint, progress
        self._state = HealingState(loss_scale=_FIRST_SCALE if parameters.is_half else 1.0)
        self._best = parameters.copies()
        self._optimiser = _AdamW(parameters, options.weight_decay)
        self._began, self._seconds_before = time.monotonic(), 0.0

    def run(self) -> HealingState:
        """Trains to the end, from the checkpoint if there is one; the best weights are set.

        Raises
        ------
        Cancelled
            Progress says so. The checkpoint, where there is one, holds the last whole step.
        NonFiniteError
            A loss or a gradient is not finite.
        """
        self._resume()
        if not self._state.history:
            self._look(None)
            self._save()
        while not self._is_done():
            try:
                loss, tokens, sequences, sums = self._gradients()
            except KeyboardInterrupt:
                # A step that is stopped midway changes nothing: the last whole one is kept.
                self._save()
                raise
            self._move(loss, tokens, sequences, sums)
            state, options = self._state, self._options
            looks = state.step % options.look_interval == 0 or state.step == options.steps
            if looks:
                self._look(options.rate(state.step))
                self._save()
            self._tell_step(saved=looks)
        self._parameters.set(self._best)
        return self._state

    def _is_done(self) -> bool:
        patience = self._options.patience
        return self._state.step >= self._options.steps or (
            patience is not None and self._state.looks_since_best >= patience
        )

    def _gradients(self) -> tuple[float, int, int, list[Tensor]]:
        """Loss, tokens, number of sequences and gradients of the next step; nothing is moved."""
        state = self._state
        taken = self._order.batch(state.used, self._options.batch_sequences)
        batches = list(self._data.batches(taken))
        weight = math.fsum(batch.weight for batch in batches)
        place = f"training step {state.step + 1}"
        while True:
            sums = self._parameters.zeros()
            scale = state.loss_scale / weight
            loss = 0.0
            for batch in batches:
                value = self._objective.add_gradients(
                    batch, self._parameters.parameters, sums, scale
                )
                _check_finite(value, place, batch)
                loss += value / weight
            norm = _norm(sums) / state.loss_scale
            if math.isfinite(norm):
                break
            if state.loss_scale <= 1:
                raise NonFiniteError(
                    f"{place}: the gradient is not finite; lower the learning rate"
                )
            state.loss_scale /= 2  # fp16 overflowed: once more, and so from here on
        clip = self._options.clip_norm
        factor = 1.0 if clip is None or norm <= clip else clip / norm
        for own in sums:
            own.mul_(factor / state.loss_scale)
        return loss, self._data.tokens(taken), len(taken), sums

    def _move(self, loss: float, tokens: int, sequences: int, sums: list[Tensor]) -> None:
        state = self._state
        self._optimiser.step(sums, self._options.rate(state.step + 1))
        self._parameters.write()
        state.step += 1
        state.used += sequences
        state.trained_tokens += tokens
        state.loss_sum += loss
        state.loss_steps += 1

    def _look(self, rate: float | None) -> None:
        state = self._state
        stage = f"held-out data after step {state.step}"
        total = 0.0
        for done, batch in enumerate(self._held_out):
            value = self._objective.value(batch)
            _check_finite(value, stage, batch)
            total += value
            self._tell(stage, done + 1, len(self._held_out))
        found = total / math.fsum(batch.weight for batch in self._held_out)
        mean = state.loss_sum / state.loss_steps if state.loss_steps else None
        state.history.append(HealingRecord(state.step, rate, mean, found))
        state.loss_sum, state.loss_steps = 0.0, 0
        state.looks_since_best += 1
        if found < state.best_loss:
            state.best_loss, state.best_step, state.looks_since_best = found, state.step, 0
            for own, master in zip(self._best, self._parameters.masters, strict=True):
                own.copy_(master.detach())

    def _tell_step(self, *, saved: bool) -> None:
        try:
            self._tell("training", self._state.step, self._options.steps)
        except BaseException:
            if not saved:
                self._save()
            raise

    def _tell(self, stage: str, done: int, total: int) -> None:
        if self._progress is None:
            return
        if self._progress(stage, done, total, time.monotonic() - self._began):
            raise Cancelled(
                f"cancelled by the progress callback after step {self._state.step} of "
                f"{self._options.steps}"
            )

    def _tensors(self) -> list[Tensor]:
        return [*self._parameters.masters, *self._optimiser.moments, *self._best]

    def _save(self) -> None:
        self._state.seconds = self._seconds_before + time.monotonic() - self._began
        if self._checkpoint is not None:
            self._checkpoint.save(asdict(self._state), self._tensors())

    def _resume(self) -> None:
        if self._checkpoint is None:
            return
        record = self._checkpoint.load(self._tensors())
        if record is None:
            return
        try:
            self._state = HealingState.from_dict(record)
        except (KeyError, TypeError, ValueError) as error:
            raise self._checkpoint.damaged(error) from error
        self._seconds_before = self._state.seconds
        self._optimiser.resume(self._state.step)
        self._parameters.write()


class _AdamW:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101), by PyTorch; decay is for matrices alone."""

    def __init__(self, parameters: TrainedParameters, weight_decay: float) -> None:
        self._masters = parameters.masters
        groups = [
            {
                "params": [own for own in self._masters if (own.ndim >= 2) == matrices],
                "weight_decay": weight_decay if matrices else 0.0,
            }
            for matrices in (True, False)
        ]
        self._own = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=0.0, betas=_BETAS, eps=_EPSILON
        )
        for master in self._masters:
            self._own.state[master] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(master, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(master, requires_grad=False),
            }

    @property
    def moments(self) -> list[Tensor]:
        """Running means of each gradient, then of each one's square."""
        states = [self._own.state[master] for master in self._masters]
        return [state[name] for name in ("exp_avg", "exp_avg_sq") for state in states]

    def resume(self, steps: int) -> None:
        """Goes on after so many steps, whose moments are there."""
        for master in self._masters:
            self._own.state[master]["step"].fill_(float(steps))

    def step(self, gradients: list[Tensor], rate: float) -> None:
        """Moves the masters."""
        for group in self._own.param_groups:
            group["lr"] = rate
        for master, gradient in zip(self._masters, gradients, strict=True):
            master.grad = gradient.to(master.dtype)
        with told("PyTorch failed to move the weights", HostError):
            self._own.step()
        for master in self._masters:
            master.grad = None


def _check_finite(value: float, place: str, batch: TrainingBatch) -> None:
    if not math.isfinite(value):
        first, last = batch.indices[0], batch.indices[-1]
        where = f"sequence {first}" if len(batch.indices) == 1 else f"sequences {first} to {last}"
        raise NonFiniteError(
            f"{place}: the loss of {where} is not finite; check the weights and the data, or lower "
            "the learning rate"
        )


def _norm(gradients: list[Tensor]) -> float:
    squares = [float(torch.linalg.vector_norm(own, dtype=_exact(own))) ** 2 for own in gradients]
    return math.sqrt(math.fsum(squares))


def _exact(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.device.type == "mps" else torch.float64
