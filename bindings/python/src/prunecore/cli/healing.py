# SPDX-License-Identifier: Apache-2.0
"""`recover --kind weights`: kept weights are trained, and the model is written as a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from prunecore._native.whole_file import write_whole
from prunecore.cli.flags import FlagGroup
from prunecore.cli.output import count, table, titled
from prunecore.cli.recovery_bar import RecoveryBar
from prunecore.data.data import Data
from prunecore.errors import ArgumentError
from prunecore.export.formats import EXPORT_FORMATS
from prunecore.masks.mask import Mask
from prunecore.model import Model
from prunecore.recovery.healed import Healed
from prunecore.recovery.trained_names import USUAL

KIND = "weights"
REPORT = "healing.json"
"""What is told of a healing, beside the files of the checkpoint."""

_SHARED = (
    *("objective", "steps", "learning_rate", "weight_decay", "warmup_steps", "clip_norm"),
    *("evaluate_every", "patience", "batch_tokens"),
)
"""Options of a recovery that weights have, too; their defaults are those of `Model.heal`."""


@dataclass(frozen=True, kw_only=True)
class HealingFlags(FlagGroup):
    """What `--kind weights` alone takes."""

    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            metavar="NAMES",
            help="With --kind weights: what is trained. head, final_norm, norms, embedding, all, "
            f"last:K, block.I, attn.I, ffn.I, with commas between. Default: {','.join(USUAL)}.",
        ),
    ] = None
    batch_sequences: Annotated[
        int | None,
        typer.Option(
            "--batch-sequences",
            metavar="N",
            help="With --kind weights: sequences of a step. Default: 8.",
        ),
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            metavar="NAME",
            help="With --kind weights: how the learning rate falls: linear, cosine or constant. "
            "Default: linear.",
        ),
    ] = None
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            metavar="MODEL",
            help="With --kind weights: another model that kl and js compare with. Default: the "
            "model itself before, without the mask.",
        ),
    ] = None
    untie_head: Annotated[
        bool,
        typer.Option(
            "--untie-head",
            help="With --kind weights: make a head that is the embedding a matrix of its own.",
        ),
    ] = False
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="F",
            help="With --kind weights: what is written, as in `export`. Default: hf.",
        ),
    ] = None

    def given(self) -> dict[str, Any]:
        """What was said, by name."""
        said = {name.rstrip("_"): value for name, value in vars(self).items()}
        return {name: value for name, value in said.items() if value not in (None, False)}


def options_of(flags: HealingFlags, options: Mapping[str, Any], said: set[str]) -> dict[str, Any]:
    """The options of `Model.heal`, but for the teacher.

    Parameters
    ----------
    flags : HealingFlags
    options : mapping
        Options of a recovery.
    said : set of str
        Those of them that the command line names.

    Raises
    ------
    ArgumentError
        One is for adapters alone.
    """
    for name in sorted(said - {"kind", *_SHARED}):
        raise ArgumentError(
            f"--{name.replace('_', '-')} is for adapters, but --kind {KIND} trains the model's own"
        )
    given = {name: options[name] for name in _SHARED if name in said}
    more = flags.given()
    for name in ("format", "teacher"):
        more.pop(name, None)
    return {**given, **more}


def refuse(flags: HealingFlags) -> None:
    """Raises `ArgumentError` if a flag for weights was given, and adapters are made."""
    for name in flags.given():
        raise ArgumentError(f"--{name.replace('_', '-')} is for --kind {KIND}")


def check_format(flags: HealingFlags) -> str:
    """The format of the directory. Raises `ArgumentError` for one that writes none."""
    format_ = flags.format_ or "hf"
    known = [name for name in EXPORT_FORMATS if name != "gguf"]
    if format_ not in known:
        raise ArgumentError(f"--format is {format_}, but must be one of {', '.join(known)}")
    return format_


def heal(
    model: Model,
    text: Data,
    mask: Mask,
    held_out: Data | None,
    teacher: Model | None,
    bar: RecoveryBar,
    options: dict[str, Any],
) -> Healed[Model]:
    """Trains, with its progress on the bar."""
    return model.heal(
        text,
        mask,
        held_out=held_out,
        teacher=teacher,
        progress=bar,
        on_step=bar.step,
        **options,
    )


def write(healed: Healed[Model], out: Path, format_: str, bar: RecoveryBar) -> dict[str, Any]:
    """Writes the checkpoint and the report beside it; the report."""
    record = {**healed.to_dict(), "format": format_, "directory": str(out)}
    healed.model.export(out, healed.mask, format=format_, provenance=healed.to_dict(), progress=bar)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    record["bytes"] = size
    write_whole(out / REPORT, json.dumps(record, indent=2).encode() + b"\n")
    return record


def shown(healed: Healed[Model], record: Mapping[str, Any]) -> Group:
    """What training did, and what that took."""
    made = table("", "")
    made.add_row("removed", ", ".join(healed.mask.removed) or "nothing")
    made.add_row("trained", ", ".join(healed.provenance["train"]))
    made.add_row("loss before", f"{healed.loss_before:.4f}")
    made.add_row("loss after", f"{healed.loss_after:.4f}")
    made.add_row("numbers trained", count(healed.trained_parameters))
    made.add_row("tokens trained on", count(healed.trained_tokens))
    made.add_row("best of the steps", f"{healed.best_step} of {healed.steps}")
    made.add_row("bytes", count(record["bytes"]))
    made.add_row("seconds", f"{healed.seconds:.1f}")
    objective = healed.provenance["objective"]
    return titled(f"Healing by {objective}, measured on held-out text", made)
