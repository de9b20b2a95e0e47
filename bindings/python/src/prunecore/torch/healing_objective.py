# SPDX-License-Identifier: Apache-2.0
"""What a healing minimises, and its gradients with respect to the trained parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from prunecore.hosts.host import HeadObjective
from prunecore.torch import head
from prunecore.torch.decoder import Decoder
from prunecore.torch.failures import computed
from prunecore.torch.layouts import Layout
from prunecore.torch.teachers import RowLogits, Teacher
from prunecore.torch.training_batch import TrainingBatch


class HealingObjective:
    """The objective of a model as its module is now, a mask applied to it.

    Logits are made for a few rows at a time: first the gradients with respect to the last hidden
    state and to what makes logits of it, then those of the layers in one go.

    Parameters
    ----------
    decoder : Decoder
        Of the model.
    vocabulary_size : int
        Width of its logits.
    kind : {"ce", "kl", "js"}
    teacher : Teacher or None
        For "kl" and "js".
    """

    def __init__(
        self, decoder: Decoder, vocabulary_size: int, kind: HeadObjective, teacher: Teacher | None
    ) -> None:
        self._decoder, self._vocabulary = decoder, vocabulary_size
        self._kind, self._teacher = kind, teacher

    @computed
    def value(self, batch: TrainingBatch) -> float:
        """The sum over the tokens of a batch, each times its weight; nats."""
        taught = self._taught(batch)
        with torch.no_grad():
            states = self._states(batch)
            return math.fsum(
                float(self._losses(states[span], span, batch, taught)[0].sum())
                for span in self._spans(batch)
            )

    @computed
    def add_gradients(
        self,
        batch: TrainingBatch,
        parameters: Sequence[nn.Parameter],
        sums: Sequence[Tensor],
        scale: float,
    ) -> float:
        """Adds the gradients of the value, times a scale, to sums; gives the value.

        Parameters
        ----------
        batch : TrainingBatch
        parameters : sequence of Parameter
            What gradients are taken of; they require them.
        sums : sequence of Tensor
            One like each parameter, in fp32.
        scale : float
            What the sum over the tokens is multiplied by.
        """
        taught = self._taught(batch)
        found: list[float] = []
        pulled: list[Tensor] = []
        with torch.enable_grad():
            states = self._states(batch)
            flows = states.requires_grad
            for span in self._spans(batch):
                rows = states[span].detach().requires_grad_(flows)
                weighted, losses = self._losses(rows, span, batch, taught)
                found.append(float(weighted.detach().sum()))
                total = (losses * scale).sum()
                if not total.requires_grad:
                    continue
                read = [*parameters, rows] if flows else list(parameters)
                gradients = torch.autograd.grad(total, read, allow_unused=True)
                _add(sums, gradients[: len(parameters)])
                if flows:
                    pulled.append(gradients[-1])
            if flows:
                above = torch.cat(pulled)
                _add(sums, torch.autograd.grad(states, parameters, above, allow_unused=True))
        return math.fsum(found)

    def _losses(
        self, rows: Tensor, span: slice, batch: TrainingBatch, taught: RowLogits | None
    ) -> tuple[Tensor, Tensor]:
        """The weighted losses of some rows: in fp64 for the sum, and in fp32 for gradients."""
        logits = self._decoder.logits(rows)
        wanted = None if taught is None else taught(batch.rows[span])
        losses = head.objective(self._kind, logits, wanted, torch.from_numpy(batch.targets[span]))
        weights = torch.from_numpy(np.ascontiguousarray(batch.weights[span])).to(losses.device)
        exact = torch.float32 if losses.device.type == "mps" else torch.float64  # Apple's has none
        return losses.detach().to(exact) * weights, losses * weights

    def _states(self, batch: TrainingBatch) -> Tensor:
        """The hidden states after the last layer, of the rows that count: (n, hidden_size)."""
        layout = Layout(self._decoder, batch.sequences)
        flats = []
        for ids in layout.ids:
            hidden, calls = self._decoder.record(ids)
            for layer, arguments in zip(self._decoder.blocks, calls, strict=True):
                hidden = self._decoder.run(layer, hidden, arguments)
            flats.append(hidden.reshape(-1, hidden.shape[-1]))
        flat = flats[0] if len(flats) == 1 else torch.cat(flats)
        cells = layout.cells(batch.rows, flat.device)
        assert cells is not None
        return flat.index_select(0, cells)

    def _taught(self, batch: TrainingBatch) -> RowLogits | None:
        return None if self._teacher is None else self._teacher.logits_of(batch.sequences)

    def _spans(self, batch: TrainingBatch) -> list[slice]:
        return list(head.spans(self._decoder, self._vocabulary, len(batch.rows)))


def _add(sums: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    for own, gradient in zip(sums, gradients, strict=True):
        if gradient is not None:
            own.add_(gradient.to(own))
