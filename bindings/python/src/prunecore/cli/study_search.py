# SPDX-License-Identifier: Apache-2.0
"""The command `study search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from prunecore.cli import search_tables
from prunecore.cli.flags import expanded
from prunecore.cli.line import Bar
from prunecore.cli.options import (
    Machine,
    StudiedDataOption,
    StudiedHeldOutOption,
    StudiedModelArgument,
)
from prunecore.cli.study_files import read_parts, studied_files, study_results, write_study
from prunecore.data.data import Data
from prunecore.errors import ArgumentError
from prunecore.studies.study_search import COUNTS, METHODS, STUDIED, study_search

QUICK_COUNTS = (2,)
QUICK_METHODS = (
    "greedy",
    "one-shot, leave-one-out loss",
    "one-shot, cosine",
    "window, loss",
    "tail",
)
QUICK_SEQUENCES = 3
SEQUENCES = 24
HELD_OUT_SEQUENCES = 48


@expanded
def search(
    model: StudiedModelArgument = None,
    *,
    data: StudiedDataOption = None,
    held_out: StudiedHeldOutOption = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write tables, JSON and pictures.")
    ] = Path("out/search"),
    granularity: Annotated[
        str,
        typer.Option(
            "--granularity",
            metavar="NAMES",
            help="What is removed, with commas between: block, sublayer, attention, feed_forward.",
        ),
    ] = ",".join(STUDIED),
    remove: Annotated[
        str | None,
        typer.Option(
            "--remove",
            metavar="NUMBERS",
            help="How many units are removed, with commas between. "
            f"Default: {','.join(map(str, COUNTS))}.",
        ),
    ] = None,
    sequences: Annotated[
        int | None,
        typer.Option(
            "--sequences",
            metavar="N",
            help=f"Number of sequences to search on, taken evenly from the data. "
            f"Default: {SEQUENCES}.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help=f"Do less: remove {','.join(map(str, QUICK_COUNTS))} units, search on "
            f"{QUICK_SEQUENCES} sequences, and leave out the strategies evolutionary and random.",
        ),
    ] = False,
    sequence_length: Annotated[
        int, typer.Option("--sequence-length", metavar="N", help="Tokens per sequence.")
    ] = 128,
    machine: Machine,
) -> None:
    """Measure what each strategy finds at the same number of removals, and what it takes."""
    results = study_results(out, "search")
    directory, files = studied_files(model, data)
    counts = (QUICK_COUNTS if quick else COUNTS) if remove is None else _numbers(remove)
    with machine.open(directory) as opened, Bar() as bar:
        searched, measured = read_parts(files, held_out, opened, sequence_length)
        most = sequences if sequences is not None else QUICK_SEQUENCES if quick else SEQUENCES
        found = study_search(
            opened,
            _some(searched, most),
            _some(measured, QUICK_SEQUENCES if quick else HELD_OUT_SEQUENCES),
            [name.strip() for name in granularity.split(",")],
            counts,
            methods=[m for m in METHODS if not quick or m.name in QUICK_METHODS],
            step=bar.stage,
        )
    lines = write_study(results, found, out, "search", search_tables.study_markdown(found))
    machine.answer(found.to_dict(), search_tables.study(found), "", *lines, results=results)


def _numbers(given: str) -> list[int]:
    try:
        return [int(number) for number in given.split(",")]
    except ValueError as error:
        raise ArgumentError(
            f"--remove is '{given}', but must be whole numbers with commas between"
        ) from error


def _some(data: Data, most: int) -> Data:
    """Sequences from all over the data, mixed: strategies look at the first ones alone, too."""
    if most < 1:
        raise ArgumentError(f"--sequences is {most}, but must be at least 1")
    taken = min(most, data.n_sequences)
    mixed = np.random.default_rng(0).permutation(taken)
    return data.select(data.n_sequences * int(place) // taken for place in mixed)
