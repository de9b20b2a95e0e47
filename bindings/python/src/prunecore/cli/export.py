# SPDX-License-Identifier: Apache-2.0
"""The commands `export` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prunecore._native.options_generated import ExportOptions
from prunecore._native.whole_file import check_export_place
from prunecore.cli.flags import Generated, expanded
from prunecore.cli.line import Bar
from prunecore.cli.options import (
    AdaptersOption,
    ComparedDataOption,
    Machine,
    MaskOption,
    ModelArgument,
    Sequences,
    read_adapters,
)
from prunecore.cli.output import count, table, titled, wrote
from prunecore.errors import ArgumentError, LoadError
from prunecore.export.formats import EXPORT_FORMATS
from prunecore.export.verification import Verification
from prunecore.masks.mask import Mask
from prunecore.model import Model
from prunecore.recovery.adapters import Adapters

EXIT_DIFFERS = 1


@expanded
def export(
    model: ModelArgument,
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="The directory or file to write.")
    ],
    mask: MaskOption = None,
    adapters: AdaptersOption = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format", metavar="F", help=f"One of {', '.join(EXPORT_FORMATS)}: docs/export.md."
        ),
    ] = "hf",
    options: Annotated[dict[str, Any], Generated(ExportOptions)],
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="T",
            help="Type of the matrices in a gguf file: auto (as stored), F32, F16, BF16 or Q8_0. "
            "Default: auto.",
        ),
    ] = None,
    tokenizer: Annotated[
        bool,
        typer.Option("--tokenizer/--no-tokenizer", help="Put the tokenizer into a gguf file."),
    ] = True,
    verify_: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Run the export in its own runtime afterwards, where that is installed.",
        ),
    ] = True,
    machine: Machine,
) -> None:
    """Write a pruned or recovered model for other programs, and check it there."""
    if format_ != "gguf" and (dtype is not None or not tokenizer):
        raise ArgumentError("--dtype and --no-tokenizer are for --format gguf")
    check_export_place(out, replaces=bool(options.get("replace")))
    with machine.open_for(mask, model) as (opened, given), Bar() as bar:
        found = read_adapters(adapters, opened, given)
        record: dict[str, Any] = {"format": format_, "path": str(out)}
        if format_ == "gguf":
            gguf = {"dtype": dtype or "auto", "tokenizer": None if tokenizer else False}
            record["gguf"] = _write_gguf(opened, out, given, found, bar, {**gguf, **options})
        else:
            opened.export(out, given, found, format_, progress=bar, **options)
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
    machine.answer(record, *shown)
    _end(checked)


@expanded
def verify(
    model: ModelArgument,
    mask: Annotated[
        Path, typer.Argument(metavar="MASK", help="The mask that was exported, as JSON.")
    ],
    export_: Annotated[Path, typer.Argument(metavar="EXPORT", help="What `export --out` wrote.")],
    *,
    adapters: AdaptersOption = None,
    data: ComparedDataOption = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            metavar="X",
            help="Largest relative difference of logits that is allowed. Default: 1e-4, or more "
            "for formats that store less exactly.",
        ),
    ] = None,
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code",
            help="Run Python files of the export that PruneCore did not write.",
        ),
    ] = False,
    sequences: Sequences,
    machine: Machine,
) -> None:
    """Run an export in its own runtime and compare logits; exit code 1 if they differ."""
    with machine.open_for(mask, model) as (opened, given):
        found = read_adapters(adapters, opened, given)
        text = sequences.read_if_any(data, opened)
        try:
            checked = opened.verify_export(
                export_,
                given,
                found,
                data=text,
                tolerance=tolerance,
                trust_remote_code=trust_remote_code,
            )
        except LoadError as error:
            raise ArgumentError(f"the export cannot be run here: {error}") from error
    machine.answer(checked.to_dict(), _table(checked))
    _end(checked)


def _write_gguf(
    model: Model,
    out: Path,
    mask: Mask | None,
    adapters: Adapters | None,
    bar: Bar,
    options: dict[str, Any],
) -> dict[str, Any]:
    if options.pop("shard_bytes") is not None:
        raise ArgumentError("--shard-bytes is given, but a GGUF export is one file")
    if options.pop("dequantised", "bfloat16") != "bfloat16":
        raise ArgumentError("--dequantised is given, but a GGUF file keeps blocks: see --dtype")
    try:
        from prunecore.export.gguf import export_gguf
    except LoadError as error:
        raise ArgumentError(f"--format gguf: {error}") from error
    return export_gguf(model, out, mask, adapters, progress=bar, **options).to_dict()


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
    for other in checked.others:
        told = other.reason if other.difference is None else f"{other.difference:.2g}"
        shown.add_row(f"in {other.runtime}", told)
    verdict = "The export computes what the model does." if checked.same else "The export DIFFERS:"
    return titled(verdict, *[f"  {finding}" for finding in checked.findings], shown)


def _end(checked: Verification | None) -> None:
    if checked is not None and not checked.same:
        raise typer.Exit(EXIT_DIFFERS)
