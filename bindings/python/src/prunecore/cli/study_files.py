# SPDX-License-Identifier: Apache-2.0
"""The files of a study: the model and the texts that it reads, and what it writes."""

from __future__ import annotations

from pathlib import Path

from prunecore.cli.demonstration import TEXTS, find_example_model
from prunecore.cli.options import read_data
from prunecore.cli.results import PICTURES, Results
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


def study_results(out: Path, name: str) -> Results:
    """The files of a study, checked before it begins."""
    return Results.of_folder(out, *(f"{name}{ending}" for ending in (".json", ".md", *PICTURES)))


def write_study(
    results: Results, found: RecoveryStudy | SearchStudy, out: Path, name: str, markdown: str
) -> list[str]:
    """Writes a study as JSON, as Markdown and as pictures into a folder, all under one name."""
    lines = results.save(out / f"{name}.json", found.save)
    lines += results.text(out / f"{name}.md", markdown)
    return lines + results.pictures(out / name, found.plot())
