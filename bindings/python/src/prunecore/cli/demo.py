# SPDX-License-Identifier: Apache-2.0
"""The command `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Group

from prunecore.cli import recovery_tables, tables
from prunecore.cli.demonstration import (
    CALIBRATION_SEQUENCES,
    HELD_OUT_SEQUENCES,
    SEQUENCE_LENGTH,
    TEXTS,
    Demonstration,
    demonstrate,
    find_example_model,
)
from prunecore.cli.flags import expanded
from prunecore.cli.line import Bar
from prunecore.cli.options import (
    Machine,
)
from prunecore.cli.output import table, titled, wrote
from prunecore.cli.results import Results
from prunecore.plots.style import words


@expanded
def demo(
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write JSON and pictures.")
    ] = Path("out"),
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="DIR",
            help="Directory of a Hugging Face model. Default: the repository's small model.",
        ),
    ] = None,
    machine: Machine,
) -> None:
    """Score, prune, measure and recover the repository's small model, with pictures."""
    directory = model or find_example_model()
    results = Results.of_folder(out, "report.json")
    with Bar() as bar, machine.open(directory) as opened:
        found = demonstrate(opened, out, bar.stage, results)
    machine.answer(
        found.to_dict(),
        f"{directory.name}: scored on {CALIBRATION_SEQUENCES} and measured on {HELD_OUT_SEQUENCES} "
        f"other sequences of {SEQUENCE_LENGTH} tokens from each of {', '.join(TEXTS)}",
        "",
        tables.scores(found.sublayers),
        "",
        tables.shapley(found.shapley),
        "",
        tables.game(found.shapley),
        "",
        tables.curves([c for c in found.curves if c.metric == "leave_one_out_loss"]),
        "",
        tables.curves(found.sublayer_curves),
        "",
        _before_and_after(found),
        "",
        _alternatives(found),
        "",
        recovery_tables.study(found.recovery),
        "",
        tables.cost(found.cost_before, found.cost_after),
        "",
        wrote(out) + f" ({len(found.files)} files) in {found.seconds:.0f} s",
        results=results,
    )


def _before_and_after(found: Demonstration) -> Group:
    made = table("text", "loss before", "loss after")
    for name, before in found.before.items():
        made.add_row(name, f"{before.loss:.4f}", f"{found.after[name].loss:.4f}")
    title = f"Without {', '.join(found.mask.removed)} (chosen by leave-one-out loss)"
    return titled(title, made)


def _alternatives(found: Demonstration) -> Group:
    count = len(found.mask.removed)
    made = table("chosen by", "loss")
    random = [loss for name, loss in found.alternatives.items() if name.startswith("random")]
    for name, loss in found.alternatives.items():
        if not name.startswith("random"):
            made.add_row(words(name), f"{loss:.4f}")
    made.add_row(f"chance (mean of {len(random)} draws)", f"{np.mean(random):.4f}")
    return titled(f"Loss without {count} attention layers", made)
