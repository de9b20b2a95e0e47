# SPDX-License-Identifier: Apache-2.0
"""The command `mask`: masks of other tools."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from prunecore.cli.options import JsonOption
from prunecore.cli.output import Output
from prunecore.cli.results import Results
from prunecore.masks.mask import Mask
from prunecore.masks.notations import NOTATIONS

NotationHelp = f"{', '.join(NOTATIONS)}."
app = typer.Typer(name="mask", help="Masks of other tools, in and out.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `convert` a command of its own, although there is only one."""


@app.command("convert")
def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Mask to read: a file, or the text itself, such as 3,7,11."
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="NOTATION", help=f"Notation to write: {NotationHelp}")
    ] = "prunecore",
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NOTATION",
            help=f"Notation to read: {NotationHelp} Default: the one that the text looks like.",
        ),
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option(
            "--blocks",
            metavar="N",
            help="Number of blocks of the model. Needed where the text does not say it.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="Name of the model in what is written for mergekit."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File to write. Default: standard output."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Rewrite a mask in another notation."""
    results = Results(out)
    mask = Mask.read(source, from_, blocks)
    text = mask.write(to, model=model)
    lines = results.text(out, text)
    record = {**json.loads(mask.to_json()), "notation": to, "text": text}
    if out is None and not json_:
        sys.stdout.write(text)  # as it is: tables are broken into lines
        return
    Output(json_).result(record, *lines)
    results.end(record, is_printed=json_)
