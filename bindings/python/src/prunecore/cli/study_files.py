# SPDX-License-Identifier: Apache-2.0
"""The files of a study: the model and the texts that it reads, and what it writes."""

from __future__ import annotations

from pathlib import Path

from prunecore._native.whole_file import write_whole
from prunecore.cli.demonstration import TEXTS, find_example_model
from prunecore.cli.options import read_data
from prunecore.cli.output import make_folder
from prunecore.cli.pictures import save_pictures
from prunecore.data.data import Data
from prunecore.data.text_split import split_by_document
from prunecore.model import Model
from prunecore.studies.recovery_study import RecoveryStudy
from prunecore.studies.search_study import SearchStudy


def studied_files(model: Path | None, data: list[Path] | None) -> tuple[Path, list[Path]]:
    """The model's directory and the texts: the example model and its texts where none are given."""
    directory = model or find_example_model()
    return directory, data or [directory / f"{text}.jsonl" for text in TEXTS]


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


def write_study(
    found: RecoveryStudy | SearchStudy, out: Path, name: str, markdown: str
) -> list[Path]:
    """Writes a study as JSON, as Markdown and as pictures into a folder, all under one name."""
    make_folder(out)
    files = [out / f"{name}.json", out / f"{name}.md"]
    found.save(files[0])
    write_whole(files[1], markdown)
    return [*files, *save_pictures(found.plot(), out / name)]
