# SPDX-License-Identifier: Apache-2.0
"""Hidden states of the last token of each sequence, after several blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore.measures.token_values import hidden_states

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import Mask
    from prunecore.opened import OpenModel

TOKENS = 16384
"""Tokens whose hidden states are held at once."""


def last_states(
    model: OpenModel,
    data: Data,
    mask: Mask,
    blocks: list[int],
    batch_tokens: int | None,
    told: Callable[[str, int, int], None],
) -> list[npt.NDArray[np.float32]]:
    """The hidden state of each sequence's last token after some blocks.

    It runs the blocks before each layer once for each.

    Returns
    -------
    list of array of float32, shape (n_sequences, hidden_size)
        One per block.
    """
    parts = list(_parts(data))
    total = len(parts) * sum(block + 1 for block in blocks)
    done = 0
    found: list[list[npt.NDArray[np.float32]]] = [[] for _ in blocks]
    for part in parts:
        last = np.cumsum([len(row) for row in part.sequences]) - 1
        for rows, block in zip(found, blocks, strict=True):
            told("hidden states", done, total)
            states = hidden_states(
                model,
                part,
                2 * block + 2,
                mask,
                batch_tokens=batch_tokens,
                progress=lambda *_: told("hidden states", done, total),  # noqa: B023
            )
            rows.append(states[last])
            done += block + 1
    return [np.concatenate(rows) for rows in found]


def _parts(data: Data) -> Iterator[Data]:
    """The data in order, in parts of some tokens, so that their states fit in memory."""
    lengths = [len(row) for row in data.sequences]
    first, tokens = 0, 0
    for index, length in enumerate(lengths):
        if tokens and tokens + length > TOKENS:
            yield data[first:index]
            first, tokens = index, 0
        tokens += length
    yield data[first:]
