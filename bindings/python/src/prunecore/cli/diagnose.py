# SPDX-License-Identifier: Apache-2.0
"""The command `diagnose`."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import RenderableType

from prunecore.cli.flags import expanded
from prunecore.cli.line import Bar
from prunecore.cli.options import (
    DataOption,
    Machine,
    MaskOption,
    ModelArgument,
    OutFolderOption,
    Sequences,
)
from prunecore.cli.output import table, titled
from prunecore.cli.results import PICTURES, Results
from prunecore.diagnosis.diagnose import ANGULAR_BELOW, LOSS_BELOW
from prunecore.diagnosis.diagnosis import PARTS, Diagnosis

Values = npt.NDArray[np.float64]


@expanded
def diagnose(
    model: ModelArgument,
    *,
    data: DataOption,
    out: OutFolderOption,
    sequences: Sequences,
    parts: Annotated[
        str,
        typer.Option(
            "--parts",
            metavar="NAMES",
            help=f"What to measure, with commas between: {', '.join(PARTS)}; or all.",
        ),
    ] = "all",
    angular_below: Annotated[
        float,
        typer.Option(
            "--angular-below",
            metavar="X",
            help="An identity turns the hidden state by less than this, in units of pi.",
        ),
    ] = ANGULAR_BELOW,
    loss_below: Annotated[
        float,
        typer.Option(
            "--loss-below",
            metavar="X",
            help="Without an identity, the loss differs by less than this, in nats per token.",
        ),
    ] = LOSS_BELOW,
    tokens: Annotated[
        str,
        typer.Option(
            "--tokens",
            metavar="WHICH",
            help="Tokens whose angular distances count: all, or the last of each sequence.",
        ),
    ] = "all",
    mask: MaskOption = None,
    machine: Machine,
) -> None:
    """Say what each block still does, and which have become identities."""
    names = [f"diagnosis-{part}{suffix}" for part in PARTS for suffix in PICTURES]
    results = Results.of_folder(out, "diagnosis.json", *names)
    with machine.open_for(mask, model) as (opened, given), Bar() as bar:
        found = opened.diagnose(
            sequences.read(data, opened),
            parts,
            given,
            angular_below=angular_below,
            loss_below=loss_below,
            tokens=tokens,  # type: ignore[arg-type]  # the call checks the name
            progress=bar,
        )
    lines = results.save(out / "diagnosis.json", found.save)
    for part in found.parts:
        lines += results.pictures(out / f"diagnosis-{part}", found.plot(kind=part))
    missing = [f"Not measured: {name}: {why}" for name, why in found.missing.items()]
    machine.answer(
        found.to_dict(),
        _blocks(found),
        "",
        *_verdicts(found),
        *missing,
        "",
        *lines,
        results=results,
    )


def _blocks(found: Diagnosis) -> RenderableType:
    """One row per block; identities are marked."""
    after = None if found.token_variance is None else found.token_variance[2::2]
    angular = None if found.angular is None else found.angular[0]
    made = table("block", "variance", "angular (pi)", "gradient", "its change", "loss")
    identities = set(found.identities)
    for block in range(found.n_blocks):
        name = f"block.{block}"
        made.add_row(
            name + (" *" if name in identities else ""),
            _cell(after, block, ".3g"),
            _cell(angular, block, ".3f"),
            _cell(found.gradient_norm, block, ".3g"),
            _cell(found.gradient_change, block, ".3f"),
            _cell(found.loss_increase, block, "+.4f"),
        )
    return titled("Blocks (variance: after it; gradient: before it; loss: without it)", made)


def _verdicts(found: Diagnosis) -> list[RenderableType]:
    """What the numbers say of blocks, and of sublayers where these can be judged."""
    said: list[RenderableType] = [found.verdict().sentence]
    sublayers = found.verdict("sublayer")
    if sublayers.judged:
        said += ["", sublayers.sentence]
    return said


def _cell(values: Values | None, index: int, form: str) -> str:
    if values is None or math.isnan(values[index]):
        return "-"
    return format(values[index], form)
