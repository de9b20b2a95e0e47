# SPDX-License-Identifier: Apache-2.0
"""Text that is split by document: some to learn from, the rest to measure on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunecore.data.data import Data
from prunecore.data.documents import documents
from prunecore.data.paths import as_paths
from prunecore.data.text import load_tokenizer, pack, tokenize
from prunecore.errors import DataError

if TYPE_CHECKING:
    from prunecore.data.text import TokenizerSource


def split_by_document(
    paths: Sequence[str | os.PathLike[str]],
    tokenizer: TokenizerSource,
    sequence_length: int | None = 256,
    held_out_share: float = 1 / 6,
) -> tuple[Data, Data]:
    """Reads text files; the last documents of each are held out.

    Parameters
    ----------
    paths, tokenizer, sequence_length
        As for `Data.from_text`; each part is cut into sequences on its own.
    held_out_share : float
        Of the documents of each file, at least one.

    Returns
    -------
    data, held_out : Data
        No document is in both.

    Raises
    ------
    DataError
        A file holds fewer than two documents.
    """
    encoder = load_tokenizer(tokenizer)
    parts: tuple[list[Data], list[Data]] = ([], [])
    for path in as_paths(paths):
        rows = [tokenize(encoder, text) for text in documents(path)]
        if len(rows) < 2:
            raise DataError(
                f"{path} holds {len(rows)} documents, of which none can be held out: give held-out "
                "text of its own"
            )
        first = len(rows) - max(1, int(held_out_share * len(rows)))
        for part, chosen in zip(parts, (rows[:first], rows[first:]), strict=True):
            part.append(Data(pack(chosen, sequence_length)))
    return Data.concatenate(parts[0]), Data.concatenate(parts[1])
