# SPDX-License-Identifier: Apache-2.0
"""The commands `export` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prunecore.cli.options import (
    AdaptersOption,
    ComputeOption,
    JsonOption,
    LengthOption,
    LimitOption,
    MaskOption,
    ModelArgument,
    OptionalDataOption,
    SeedOption,
    ThreadsOption,
    apply_threads,
    open_model,
    read_adapters,
    read_data,
    read_mask,
)
from prunecore.cli.output import Bar, Output, count, make_folder, table, titled, wrote
from prunecore.errors import ArgumentError, LoadError
from prunecore.export.formats import EXPORT_FORMATS
from prunecore.export.verification import Verification
from prunecore.masks.mask import Mask
from prunecore.model import Model
from prunecore.recovery.adapters import Adapters

EXIT_DIFFERS = 1


def export(
    model: ModelArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="The directory or file to write.")
    ],
    mask: MaskOption = None,
    adapters: AdaptersOption = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="F", help=f"{', '.join(EXPORT_FORMATS)}.")
    ] = "hf",
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="T",
            help="Of matrices in gguf: auto (as stored), F32, F16, BF16 or Q8_0. Default: auto.",
        ),
    ] = None,
    tokenizer: Annotated[
        bool, typer.Option("--tokenizer/--no-tokenizer", help="Carry the tokenizer over in gguf.")
    ] = True,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an export that is there.")
    ] = False,
    verify_: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Run the export in its own runtime afterwards, where that is installed.",
        ),
    ] = True,
    compute: ComputeOption = None,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Write a pruned or recovered model for other programs, and check it there."""
    apply_threads(threads)
    if format_ != "gguf" and (dtype is not None or not tokenizer):
        raise ArgumentError("--dtype and --no-tokenizer are for --format gguf")
    with open_model(model, compute) as opened, Bar() as bar:
        given = read_mask(mask, opened)
        found = read_adapters(adapters, opened, given)
        make_folder(out.resolve().parent)
        record: dict[str, Any] = {"format": format_, "path": str(out)}
        if format_ == "gguf":
            record["gguf"] = _write_gguf(
                opened,
                out,
                mask=given,
                adapters=found,
                dtype=dtype or "auto",
                tokenizer=tokenizer,
                replace=replace,
                bar=bar,
            )
        else:
            opened.export(out, given, found, format_, replace=replace, progress=bar)
        record["bytes"] = _size(out)
        removed = (given or (opened.mask if found is None else found.mask)).removed
        record |= {"removed": removed, "model": opened.provenance}
        bar.label = "verify"
        checked, skipped = _check(opened, out, given, found) if verify_ else (None, "not asked for")
    record["verification"] = None if checked is None else checked.to_dict()
    record["not_verified"] = skipped
    shown: list[Any] = [f"{wrote(out)}: {count(record['bytes'])} bytes"]
    shown += [f"Note: {note}" for note in record.get("gguf", {}).get("notes", ())]
    shown.append(f"Not verified: {skipped}" if checked is None else _table(checked))
    Output(json_).result(record, *shown)
    _end(checked)


def verify(
    model: ModelArgument,
    mask: Annotated[
        Path, typer.Argument(metavar="MASK", help="Mask that was exported: JSON of `prune --out`.")
    ],
    export_: Annotated[Path, typer.Argument(metavar="EXPORT", help="What `export --out` wrote.")],
    adapters: AdaptersOption = None,
    data: OptionalDataOption = None,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", metavar="X", help="Largest relative difference of logits."),
    ] = None,
    sequence_length: LengthOption = 256,
    limit: LimitOption = None,
    seed: SeedOption = None,
    compute: ComputeOption = None,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Run an export in its own runtime and compare logits; exit code 1 if they differ."""
    apply_threads(threads)
    with open_model(model, compute) as opened:
        given = read_mask(mask, opened)
        found = read_adapters(adapters, opened, given)
        text = read_data(data, opened, sequence_length, limit, seed) if data else None
        try:
            checked = opened.verify_export(export_, given, found, data=text, tolerance=tolerance)
        except LoadError as error:
            raise ArgumentError(f"the export cannot be run here: {error}") from error
    Output(json_).result(checked.to_dict(), _table(checked))
    _end(checked)


def _write_gguf(
    model: Model,
    out: Path,
    mask: Mask | None,
    adapters: Adapters | None,
    dtype: str,
    tokenizer: bool,
    replace: bool,
    bar: Bar,
) -> dict[str, Any]:
    try:
        from prunecore.export.gguf import export_gguf
    except LoadError as error:
        raise ArgumentError(f"--format gguf: {error}") from error
    return export_gguf(
        model,
        out,
        mask,
        adapters,
        dtype,  # type: ignore[arg-type]  # the call checks the name
        tokenizer=None if tokenizer else False,
        replace=replace,
        progress=bar,
    ).to_dict()


def _check(
    model: Model, out: Path, mask: Mask | None, adapters: Adapters | None
) -> tuple[Verification | None, str | None]:
    """What the runtime says; or why it was not asked."""
    try:
        return model.verify_export(out, mask, adapters), None
    except LoadError as error:
        return None, str(error)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _table(checked: Verification) -> Any:
    shown = table("", "")
    shown.add_row("runtime", checked.runtime)
    shown.add_row("tokens compared", count(checked.tokens))
    if checked.difference is not None:
        shown.add_row("difference of logits", f"{checked.difference:.2g}")
    shown.add_row("allowed", f"{checked.tolerance:.2g}")
    if checked.agreement is not None:
        shown.add_row("same likeliest token", f"{checked.agreement:.1%}")
    verdict = "The export computes what the model does." if checked.same else "The export DIFFERS:"
    return titled(verdict, *[f"  {finding}" for finding in checked.findings], shown)


def _end(checked: Verification | None) -> None:
    if checked is not None and not checked.same:
        raise typer.Exit(EXIT_DIFFERS)
