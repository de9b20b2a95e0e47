# SPDX-License-Identifier: Apache-2.0
"""The command `recover`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from prunecore._native.options_generated import ShareOptions
from prunecore._native.whole_file import check_export_place, check_folder
from prunecore.cli import healing, recovery_tables, share
from prunecore.cli.flags import Generated, expanded, help_text
from prunecore.cli.healing import HealingFlags
from prunecore.cli.options import (
    CheckpointOption,
    DataOption,
    GivenMaskOption,
    Machine,
    ModelArgument,
    Sequences,
    read_data,
)
from prunecore.cli.output import wrote
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


_KIND = RecoverOptions.OPTIONS["kind"]
_KINDS = help_text(_KIND, "low_rank").removesuffix(".")


@expanded
def recover(
    model: ModelArgument,
    *,
    context: typer.Context,
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
            help=f"{_KINDS}; or {healing.KIND}: no adapter, but weights that the mask keeps are "
            f"trained (docs/healing.md); or {share.KIND}: what the mask removes uses weights of "
            "earlier sublayers and deltas of low rank (docs/sharing.md).",
        ),
    ] = "low_rank",
    options: Annotated[dict[str, Any], Generated(RecoverOptions, leave_out=("seed", "kind"))],
    flags: HealingFlags,
    sharing: Annotated[dict[str, Any], Generated(ShareOptions, leave_out=("seed", *share.COMMON))],
    checkpoint: CheckpointOption = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where to write the adapters; of weights and shared, the model as a checkpoint.",
        ),
    ],
    machine: Machine,
) -> None:
    """Make up for what a mask removes: by adapters, by training, or by weights that are shared."""
    if kind == healing.KIND:
        share.refuse(sharing)
        said = {name for name in options if _is_said(context, name)}
        asked = {**healing.options_of(flags, options, said), "checkpoint": checkpoint}
        _heal(model, mask, data, sequences, held_out, asked, flags, out, machine)
        return
    healing.refuse(flags)
    own = share.only_of(kind, options, sharing)
    if kind == share.KIND:
        check_export_place(out, replaces=False)
    else:
        assert _KIND.group is not None
        kind = _KIND.group.parse(kind, "kind")
        check_folder(out, ("adapters.json", "adapters.safetensors"))
    results = Results(checkpoint)
    with machine.open_for(mask, model) as (opened, given), RecoveryBar() as bar:
        text = sequences.read(data, opened)
        length = sequences.sequence_length
        other = read_data(held_out, opened, length) if held_out else None
        if kind == share.KIND:
            made, parts = share.share(
                opened, given, text, out, bar, held_out=other, checkpoint=checkpoint,
                options={**own, "seed": sequences.seed},
            )  # fmt: skip
            return machine.answer(made, *parts, results=results)
        adapters = opened.recover(
            given,
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
        pruned = opened.evaluate(measured, given).loss
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


def _is_said(context: typer.Context, name: str) -> bool:
    """Whether the command line names an option."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _heal(
    model: Path,
    mask: Path,
    data: list[Path],
    sequences: LearntSequences,
    held_out: list[Path] | None,
    options: dict[str, Any],
    flags: HealingFlags,
    out: Path,
    machine: Machine,
) -> None:
    """Trains weights, and writes the model as a checkpoint with a report beside it."""
    format_ = healing.check_format(flags)
    check_export_place(out, replaces=False)
    results = Results(options["checkpoint"])
    with (
        machine.open_for(mask, model) as (opened, given),
        RecoveryBar() as bar,
        ExitStack() as stack,
    ):
        assert given is not None
        teacher = None
        if flags.teacher is not None:
            teacher = stack.enter_context(machine.open(Path(flags.teacher)))
        elif given.edits and options.get("objective", "ce") != "ce":
            # What is edited is no teacher of itself: blocks that were merged are in it twice.
            teacher = stack.enter_context(machine.open(model))
        text = sequences.read(data, opened)
        other = read_data(held_out, opened, sequences.sequence_length) if held_out else None
        options["seed"] = sequences.seed
        healed = healing.heal(opened, text, given, other, teacher, bar, options)
        record = healing.write(healed, out, format_, bar)
        table = healing.shown(healed, record)
        healed.model.close()
    machine.answer(record, table, "", wrote(out), results=results)
