# SPDX-License-Identifier: Apache-2.0
"""The command `recover`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from prunecore.cli import recovery_tables
from prunecore.cli.options import (
    ComputeOption,
    DataOption,
    JsonOption,
    LengthOption,
    LimitOption,
    ModelArgument,
    ThreadsOption,
    apply_threads,
    open_model,
    read_data,
    read_mask,
)
from prunecore.cli.output import Output, make_folder, wrote
from prunecore.cli.recovery_bar import RecoveryBar
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Mask

HeldOutOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--held-out",
        metavar="FILE",
        help="Other text: to choose ridge, rank and the best step by, and to measure the loss on. "
        "Default: a tenth of the data's sequences to choose by, and all data to measure.",
    ),
]
RankOption = Annotated[
    str, typer.Option("--rank", metavar="R", help="Of low_rank: a number, or auto.")
]


def recover(
    model: ModelArgument,
    mask: Annotated[
        Path, typer.Option("--mask", metavar="FILE", help="Mask that `prune --out` wrote.")
    ],
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the adapters.")],
    kind: Annotated[
        str, typer.Option("--kind", metavar="K", help="bias, low_rank or linear.")
    ] = "low_rank",
    objective: Annotated[
        str,
        typer.Option(
            "--objective",
            metavar="O",
            help="closed_form: least squares; or trained: mse (hidden state of the full model), ce "
            "(next token), kl, js (distribution of the full model).",
        ),
    ] = "closed_form",
    rank: RankOption = "16",
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", help="Of training. Default: 300.")
    ] = None,
    start: Annotated[
        str,
        typer.Option("--start", metavar="S", help="Where training starts: closed_form or zero."),
    ] = "closed_form",
    stream: Annotated[
        str,
        typer.Option(
            "--stream",
            metavar="S",
            help="States that the closed form learns from: recovered or full_model.",
        ),
    ] = "recovered",
    input_: Annotated[
        str,
        typer.Option("--input", metavar="X", help="What matrices are applied to: normed or raw."),
    ] = "normed",
    block_slot: Annotated[
        str,
        typer.Option(
            "--block-slot",
            metavar="S",
            help="Where the adapter of a whole block stands: attention, feed_forward or both.",
        ),
    ] = "attention",
    ridge: Annotated[
        float | None,
        typer.Option(
            "--ridge", metavar="X", help="Of the closed form. Default: chosen on held-out text."
        ),
    ] = None,
    held_out: HeldOutOption = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", metavar="X", help="At its highest."),
    ] = None,
    step_tokens: Annotated[
        int | None,
        typer.Option("--step-tokens", metavar="N", help="Tokens of a step. Default: 2048."),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            metavar="N",
            help="End after so many looks without a lower held-out loss. Default: never.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="Keeps the state of training; a run that was stopped resumes from it.",
        ),
    ] = None,
    sequence_length: LengthOption = 256,
    limit: LimitOption = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", help="Of what is held out, first weights, batches and --limit."
        ),
    ] = 0,
    compute: ComputeOption = None,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Make adapters that emulate what a mask removes, in closed form or trained."""
    apply_threads(threads)
    with open_model(model, compute) as opened, RecoveryBar() as bar:
        chosen = read_mask(mask, opened)
        text = read_data(data, opened, sequence_length, limit, seed if limit else None)
        other = read_data(held_out, opened, sequence_length, None, None) if held_out else None
        if checkpoint is not None:
            make_folder(checkpoint.parent)
        adapters = opened.recover(
            chosen,
            text,
            kind,  # type: ignore[arg-type]  # the call checks the names
            _rank(rank),
            objective,  # type: ignore[arg-type]
            start=start,  # type: ignore[arg-type]
            stream=stream,  # type: ignore[arg-type]
            input=input_,  # type: ignore[arg-type]
            block_slot=block_slot,  # type: ignore[arg-type]
            ridge=ridge,
            held_out=other,
            seed=seed,
            steps=steps,
            step_tokens=step_tokens,
            learning_rate=learning_rate,
            patience=patience,
            checkpoint=checkpoint,
            progress=bar,
            on_step=bar.step,
        )
        make_folder(out.parent)
        adapters.save(out)
        measured = text if other is None else other
        full = opened.evaluate(measured, Mask.all(opened.shape.n_blocks)).loss
        pruned = opened.evaluate(measured, chosen).loss
        loss = opened.evaluate(measured, adapters=adapters).loss
        model_record = opened.provenance
    share = (pruned - loss) / (pruned - full) if pruned > full else 0.0
    measured_on = "the data" if other is None else "held-out text"
    record: dict[str, Any] = {
        "loss": loss,
        "loss_full": full,
        "loss_pruned": pruned,
        "share": share,
        "measured_on": "data" if other is None else "held_out",
        "directory": str(out),
        **adapters.to_dict(),
        "data_sha256": text.digest,
        "model": model_record,
    }
    losses = {"full model": full, "pruned": pruned, "recovered": loss}
    Output(json_).result(
        record,
        recovery_tables.adapters(adapters),
        "",
        recovery_tables.recovered(losses, share, adapters, measured_on),
        "",
        wrote(out),
    )


def _rank(given: str) -> int | Literal["auto"]:
    if given == "auto":
        return "auto"
    try:
        return int(given)
    except ValueError as error:
        raise ArgumentError(f"--rank is '{given}', but must be a number or auto") from error
