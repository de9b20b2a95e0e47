# SPDX-License-Identifier: Apache-2.0
"""`recover --kind shared` and `score --sharing`: weights of later sublayers as deltas of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group

from prunecore._native.options_generated import ShareOptions
from prunecore.cli.output import count, table, titled, wrote
from prunecore.errors import ArgumentError
from prunecore.recovery.options import RecoverOptions

if TYPE_CHECKING:
    from prunecore.cli.recovery_bar import RecoveryBar
    from prunecore.data.data import Data
    from prunecore.masks.mask import Mask
    from prunecore.model import Model
    from prunecore.recovery.shared import Shared
    from prunecore.recovery.sharing_analysis import SharingAnalysis

KIND = "shared"
COMMON = tuple(
    each.name
    for each in fields(ShareOptions)
    if each.name in {own.name for own in fields(RecoverOptions)}
)
"""Options of sharing that making adapters has, too."""

ROWS = 20


def only_of(kind: str, adapters: Mapping[str, Any], sharing: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a kind of recovery, from those of both.

    Raises
    ------
    ArgumentError
        One is given that the kind has no use for; the text names it.
    """
    if kind == KIND:
        _refuse(
            RecoverOptions(), adapters, COMMON, "is of adapters, which --kind shared makes none"
        )
        rank = {"rank": None} if sharing["bytes"] is not None else {}
        return {**{name: adapters[name] for name in COMMON if name in adapters}, **sharing, **rank}
    refuse(sharing)
    return dict(adapters)


def refuse(sharing: Mapping[str, Any]) -> None:
    """Refuses options of sharing for another kind of recovery.

    Raises
    ------
    ArgumentError
        One is given; the text names it.
    """
    _refuse(ShareOptions(), sharing, (), f"is of --kind {KIND}")


def _refuse(default: Any, given: Mapping[str, Any], used: tuple[str, ...], reason: str) -> None:
    for name, value in given.items():
        if name not in used and value != getattr(default, name):
            raise ArgumentError(f"--{name.replace('_', '-')} {reason}")


def share(
    model: Model,
    mask: Mask | None,
    data: Data,
    out: Path,
    bar: RecoveryBar,
    *,
    held_out: Data | None,
    checkpoint: Path | None,
    options: dict[str, Any],
) -> tuple[dict[str, Any], list[Any]]:
    """Shares weights, and exports the model; the record of the command, and what it prints."""
    shared = model.share(
        mask, data, held_out=held_out, checkpoint=checkpoint, progress=bar, on_step=bar.step,
        **options,
    )  # fmt: skip
    measured = data if held_out is None else held_out
    removed = (model.mask if mask is None else mask).removed
    kept = model.present([1] * 2 * model.shape.n_blocks)
    losses = {
        "full model": model.evaluate(measured, kept).loss,
        "removed": model.evaluate(measured, mask).loss,
        "shared": shared.model.evaluate(measured).loss,
    }
    shared.model.export(out, kept, format="hf_custom")
    record = {
        "loss": losses["shared"],
        "loss_full": losses["full model"],
        "loss_pruned": losses["removed"],
        "measured_on": "data" if held_out is None else "held_out",
        "removed": removed,
        "directory": str(out),
        "parameter_bytes": shared.model.shape.parameter_bytes,
        "parameter_bytes_before": model.shape.parameter_bytes,
        **shared.to_dict(),
        "data_sha256": data.digest,
        "model": model.provenance,
    }
    return record, [_weights(shared), "", _summary(shared, losses, model), "", wrote(out)]


def _weights(shared: Shared) -> Group:
    made = table("weight", "base", "rank", "bytes", "of", "error")
    for each in shared.report:
        made.add_row(
            f"{each.sublayer} {each.projection}",
            each.base_sublayer,
            str(each.rank),
            count(each.bytes),
            count(each.bytes_whole),
            "" if each.error is None else f"{each.error:.3f}",
        )
    return titled("Shared weights (error of outputs, relative)", made)


def _summary(shared: Shared, losses: dict[str, float], model: Model) -> Group:
    made = table("", "")
    for name, loss in losses.items():
        made.add_row(f"loss, {name}", f"{loss:.4f}")
    before, after = (each.shape.parameter_bytes for each in (model, shared.model))
    made.add_row("bytes of the model as stored", count(after))
    made.add_row("before", f"{count(before)} ({100 * (1 - after / before):.1f} % saved)")
    summary = shared.summary
    made.add_row("tokens learnt from", count(summary.tokens))
    if summary.steps:
        made.add_row("best of the training's steps", f"{summary.best_step} of {summary.steps}")
    made.add_row("seconds", f"{summary.seconds:.1f}")
    return titled("Sharing", made)


def analysis(found: SharingAnalysis) -> Group:
    """The pairs that would store least, for each error that was asked for."""
    parts = []
    for error in found.errors:
        made = table("sublayer", "weights of", "difference", "bytes of the delta", "share")
        for row in found.table(error)[:ROWS]:
            made.add_row(
                row["sublayer"],
                row["base"],
                f"{row['difference']:.3f}",
                f"{count(row['bytes'])} of {count(row['bytes_whole'])}",
                f"{100 * row['share']:.0f} %",
            )
        parts.append(titled(f"Sharing with an error of {error:g}: the {ROWS} best pairs", made))
    return Group(*parts)
