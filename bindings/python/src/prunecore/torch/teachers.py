# SPDX-License-Identifier: Apache-2.0
"""Models whose logits a training goes after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from prunecore.data.data import Data
from prunecore.errors import ArgumentError
from prunecore.hosts.host import HostBatch, Ids, Rows
from prunecore.masks.mask import Keep
from prunecore.measures.token_values import logits
from prunecore.opened import OpenModel
from prunecore.torch.host import TorchHost
from prunecore.torch.prunable import PrunableModel

RowLogits = Callable[[Rows], Tensor]
"""Logits of some rows of a batch, shape (n, vocabulary_size)."""


class Teacher(Protocol):
    """Gives the logits of any model, without gradients."""

    def logits_of(self, sequences: list[Ids]) -> RowLogits:
        """Runs the model on sequences; rows are those of all of them, one after the other."""
        ...


class WrappedTeacher:
    """A model that PyTorch runs, under a mask: nothing leaves its device.

    Parameters
    ----------
    host : TorchHost
    keep : array of 0 and 1, shape (2 * n_blocks,)
    """

    def __init__(self, host: TorchHost, keep: Keep) -> None:
        self._host = host
        step = 2 if host.whole_blocks else 1
        self._sublayers = [u for u in range(0, 2 * host.n_blocks, step) if keep[u]]

    def logits_of(self, sequences: list[Ids]) -> RowLogits:
        """See `Teacher`."""
        lengths = np.array([len(row) for row in sequences], dtype=np.int64)
        state = self._host.embed(HostBatch(np.concatenate(sequences), lengths))
        for sublayer in self._sublayers:
            state = self._host.apply(sublayer, [state])[0]

        def row_logits(rows: Rows) -> Tensor:
            with torch.no_grad():
                return self._host.row_logits(state, rows)

        return row_logits


class OpenTeacher:
    """Any other model, under its own mask: logits of a sequence at a time come as arrays.

    Parameters
    ----------
    model : OpenModel
    """

    def __init__(self, model: OpenModel) -> None:
        self._model = model

    def logits_of(self, sequences: list[Ids]) -> RowLogits:
        """See `Teacher`."""
        starts = np.concatenate([[0], np.cumsum([len(row) for row in sequences])])
        known: dict[int, Tensor] = {}  # rows are asked for in their order: one is enough

        def of_sequence(index: int) -> Tensor:
            if index not in known:
                known.clear()
                known[index] = torch.from_numpy(logits(self._model, Data([sequences[index]])))
            return known[index]

        def row_logits(rows: Rows) -> Tensor:
            members = np.searchsorted(starts, rows, side="right") - 1
            found = []
            for member in np.unique(members):
                own = torch.from_numpy(rows[members == member] - starts[member])
                found.append(of_sequence(int(member))[own])
            return torch.cat(found)

        return row_logits


def teacher_of(given: OpenModel | None, student: PrunableModel) -> Teacher:
    """The teacher that a caller gives; None = the whole model that is healed, as it was.

    Raises
    ------
    ArgumentError
        Its vocabulary is another one.
    """
    if given is None:
        return WrappedTeacher(student.host, np.ones(2 * student.host.n_blocks, dtype=np.uint8))
    theirs, ours = given.shape.vocabulary_size, student.shape.vocabulary_size
    if theirs != ours:
        raise ArgumentError(
            f"the teacher has logits of {theirs} tokens, but the model has {ours}: give a model "
            "with the same vocabulary"
        )
    if isinstance(given, PrunableModel):
        return WrappedTeacher(given.host, given.mask.keep)
    return OpenTeacher(given)
