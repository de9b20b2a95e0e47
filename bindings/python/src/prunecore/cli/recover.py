# SPDX-License-Identifier: Apache-2.0
"""The command `recover`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from prunecore._native.names.tables import ADAPTER_KINDS
from prunecore._native.options_generated import ShareOptions
from prunecore._native.whole_file import check_export_place, check_folder
from prunecore.cli import recovery_tables, share
from prunecore.cli.flags import Generated, expanded
from prunecore.cli.options import (
    CheckpointOption,
    DataOption,
    GivenMaskOption,
    Machine,
    ModelArgument,
    Sequences,
    read_data,
    read_mask,
)
from prunecore.cli.recovery_bar import RecoveryBar
from prunecore.cli.results import Results
from prunecore.masks.mask import Mask
from prunecore.recovery.options import RecoverOptions


@dataclass(frozen=True, kw_only=True)
class LearntSequences(Sequences):
    """Which sequences adapters learn from, and one seed for all that is drawn."""

    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            help="Seed of all random choices: the sequences of --limit, those that are held out, "
            "first weights, and batches.",
        ),
    ] = 0


@expanded
def recover(
    model: ModelArgument,
    *,
    mask: GivenMaskOption,
    data: DataOption,
    sequences: LearntSequences,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            "--held-out",
            metavar="FILE",
            help="Other text, by which ridge, rank and the best step are chosen, and on which the "
            "loss is measured. Default: a tenth of the data's sequences is held out to choose by, "
            "and the loss is measured on all data.",
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="NAME",
            help=f"Kind of adapter: one of {', '.join(ADAPTER_KINDS)}. Or shared: what the mask "
            "removes uses the weights of earlier sublayers and deltas of low rank, and --out is "
            "the model, as hf_custom.",
        ),
    ] = "low_rank",
    options: Annotated[dict[str, Any], Generated(RecoverOptions, leave_out=("seed", "kind"))],
    sharing: Annotated[dict[str, Any], Generated(ShareOptions, leave_out=("seed", *share.COMMON))],
    checkpoint: CheckpointOption = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Where to write the adapters, or the model."),
    ],
    machine: Machine,
) -> None:
    """Make up for what a mask removes: adapters or shared weights, in closed form or trained."""
    own = share.only_of(kind, options, sharing)
    if kind == share.KIND:
        check_export_place(out, replaces=False)
    else:
        check_folder(out, ("adapters.json", "adapters.safetensors"))
    results = Results(checkpoint)
    with machine.open(model) as opened, RecoveryBar() as bar:
        chosen = read_mask(mask, opened)
        text = sequences.read(data, opened)
        length = sequences.sequence_length
        other = read_data(held_out, opened, length) if held_out else None
        if kind == share.KIND:
            made, parts = share.share(
                opened, chosen, text, out, bar, held_out=other, checkpoint=checkpoint,
                options={**own, "seed": sequences.seed},
            )  # fmt: skip
            return machine.answer(made, *parts, results=results)
        adapters = opened.recover(
            chosen,
            text,
            kind,  # type: ignore[arg-type]  # checked there
            held_out=other,
            seed=sequences.seed,
            checkpoint=checkpoint,
            progress=bar,
            on_step=bar.step,
            **own,
        )
        lines = results.save(out, adapters.save)
        measured = text if other is None else other
        full = opened.evaluate(measured, Mask.all(opened.shape.n_blocks)).loss
        pruned = opened.evaluate(measured, chosen).loss
        loss = opened.evaluate(measured, adapters=adapters).loss
        model_record = opened.provenance
    won_back = (pruned - loss) / (pruned - full) if pruned > full else 0.0
    measured_on = "the data" if other is None else "held-out text"
    record: dict[str, Any] = {
        "loss": loss,
        "loss_full": full,
        "loss_pruned": pruned,
        "share": won_back,
        "measured_on": "data" if other is None else "held_out",
        "directory": str(out),
        **adapters.to_dict(),
        "data_sha256": text.digest,
        "model": model_record,
    }
    losses = {"full model": full, "pruned": pruned, "recovered": loss}
    machine.answer(
        record,
        recovery_tables.adapters(adapters),
        "",
        recovery_tables.recovered(losses, won_back, adapters, measured_on),
        "",
        *lines,
        results=results,
    )
