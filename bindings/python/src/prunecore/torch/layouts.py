# SPDX-License-Identifier: Apache-2.0
"""How the sequences of a batch lie in rectangles, as PyTorch computes them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from prunecore.torch.decoder import Arguments, Decoder

_LEAST_FILL = 2 / 3
"""Of the length of a rectangle: shorter sequences get a rectangle of their own."""

_REMEMBERED = 2
"""Numbers of states computed together whose arguments are kept, where they depend on it."""


class Layout:
    """The sequences of one batch, right-padded to rectangles.

    A token sees those before it only, so that the padding behind a sequence changes nothing; rows
    of states are those of the real tokens. Sequences are padded with their own last token. Where
    rotary positions depend on the longest sequence at hand (types "dynamic" and "longrope"), only
    sequences of one length share a rectangle.

    Parameters
    ----------
    decoder : Decoder
        Of the model.
    sequences : sequence of array of int
        Token ids.

    Attributes
    ----------
    ids : list of Tensor of int64
        Of each rectangle, shape (sequences, length).
    n_tokens : int
        Without padding.
    """

    def __init__(self, decoder: Decoder, sequences: Sequence[npt.NDArray[np.int32]]) -> None:
        self._decoder = decoder
        lengths = [len(sequence) for sequence in sequences]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        self.n_tokens = int(starts[-1])
        self.ids: list[Tensor] = []
        rows = np.empty(self.n_tokens, dtype=np.int64)
        before = 0  # cells of the rectangles so far
        for members in _rectangles(lengths, _LEAST_FILL if _fixed_positions(decoder) else 1.0):
            width = lengths[members[0]]
            cells = np.empty((len(members), width), dtype=np.int64)
            for line, member in enumerate(members):
                sequence = sequences[member]
                cells[line, : len(sequence)] = sequence
                cells[line, len(sequence) :] = sequence[-1]
                first = before + line * width
                span = slice(starts[member], starts[member + 1])
                rows[span] = np.arange(first, first + len(sequence))
            self.ids.append(torch.from_numpy(cells).to(decoder.input_device))
            before += cells.size
        self._cells = torch.from_numpy(rows)
        self._whole = bool(before == self.n_tokens and np.all(np.diff(rows) == 1))
        self._arguments: list[OrderedDict[int, list[Arguments]]] = [OrderedDict() for _ in self.ids]
        self._alike: list[bool | None] = [None] * len(self.ids)

    def embedded(self) -> list[Tensor]:
        """The hidden states before the first layer, one tensor per rectangle."""
        states = []
        for index, ids in enumerate(self.ids):
            hidden, calls = self._decoder.record(ids)
            self._arguments[index][1] = calls
            states.append(hidden)
        return states

    def arguments(self, rectangle: int, block: int, copies: int) -> Arguments:
        """What a layer is called with for some states of this rectangle, one below the other."""
        if copies > 1 and self._alike[rectangle] is None:
            # Of two copies, since what is of one sequence looks like what is of any.
            calls = self._recorded(rectangle, 2)
            self._alike[rectangle] = all(_broadcasts(arguments) for arguments in calls)
        return self._recorded(rectangle, 1 if self._alike[rectangle] else copies)[block]

    def _recorded(self, rectangle: int, copies: int) -> list[Arguments]:
        known = self._arguments[rectangle]
        if copies not in known:
            with torch.no_grad():  # they are asked for while gradients are pulled back, too
                known[copies] = self._decoder.record(self.ids[rectangle].repeat(copies, 1))[1]
            while len(known) > _REMEMBERED:
                known.popitem(last=False)
        return known[copies]

    def cells(self, rows: npt.NDArray[np.int64] | None, device: torch.device) -> Tensor | None:
        """Where rows of tokens lie in the cells of all rectangles, one after the other.

        None stands for all rows, both as what is asked for and as the answer.
        """
        if rows is None:
            return None if self._whole else self._cells.to(device)
        chosen = torch.tensor(rows, dtype=torch.int64)
        return (chosen if self._whole else self._cells[chosen]).to(device)


def _rectangles(lengths: Sequence[int], least_fill: float) -> list[list[int]]:
    """Which sequences share a rectangle: indices, the longest first."""
    made: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if made and lengths[index] >= least_fill * lengths[made[-1][0]]:
            made[-1].append(index)
        else:
            made.append([index])
    return made


def _fixed_positions(decoder: Decoder) -> bool:
    """Whether the rotary positions of a token do not depend on the length of its sequence."""
    rope = getattr(decoder.config, "rope_parameters", None) or {}
    settings = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    return not any(kind.get("rope_type") in ("dynamic", "longrope") for kind in settings)


def _broadcasts(value: Any) -> bool:
    """Whether arguments hold for any number of sequences, by the rules of broadcasting."""
    if isinstance(value, Tensor):
        return value.ndim == 0 or value.shape[0] == 1
    if isinstance(value, dict):
        return all(_broadcasts(part) for part in value.values())
    if isinstance(value, (list, tuple)):
        return all(_broadcasts(part) for part in value)
    return True
