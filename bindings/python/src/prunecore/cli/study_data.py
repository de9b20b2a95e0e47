# SPDX-License-Identifier: Apache-2.0
"""The texts of a study: some to learn from, others to measure on."""

from __future__ import annotations

from pathlib import Path

from prunecore.cli.options import read_data
from prunecore.data.data import Data
from prunecore.data.text_split import split_by_document
from prunecore.model import Model


def read_parts(
    files: list[Path], held_out: list[Path] | None, model: Model, sequence_length: int
) -> tuple[Data, Data]:
    """The data and the held-out data; without files for these, the last documents of each file."""
    if held_out:
        return (
            read_data(files, model, sequence_length),
            read_data(held_out, model, sequence_length),
        )
    return split_by_document(files, model, sequence_length or None)
