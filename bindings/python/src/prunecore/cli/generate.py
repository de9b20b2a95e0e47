# SPDX-License-Identifier: Apache-2.0
"""The command that writes text: generate."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from prunecore._native.whole_file import write_whole
from prunecore.cli.flags import Generated, expanded
from prunecore.cli.line import Bar
from prunecore.cli.options import (
    AdaptersOption,
    Machine,
    MaskOption,
    ModelArgument,
    read_adapters,
)
from prunecore.cli.output import Output, count
from prunecore.cli.results import Results
from prunecore.data.documents import documents
from prunecore.data.text import load_tokenizer
from prunecore.errors import ArgumentError
from prunecore.generation.generate import GenerateOptions
from prunecore.generation.generation import GeneratedToken, Generation
from prunecore.masks.mask import Mask
from prunecore.model import Model

CALIBRATION_TOKENS = 256
FLAGS = {"max_new_tokens": "max_tokens"}


@expanded
def generate(
    model: ModelArgument,
    *,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="Text to continue.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="File of texts to continue: one per line, or .jsonl with a field text.",
        ),
    ] = None,
    calibration: Annotated[
        int | None,
        typer.Option(
            "--calibration",
            metavar="N",
            help="Write N sequences of calibration text to --out, sampled at temperature 1, of "
            f"{CALIBRATION_TOKENS} tokens unless --max-tokens is given. They begin as the "
            "--prompts do, in turn, or else with the start token.",
        ),
    ] = None,
    prompt_tokens: Annotated[
        int | None,
        typer.Option(
            "--prompt-tokens",
            metavar="N",
            help="With --calibration: how many tokens of each prompt are used. Default: 8.",
        ),
    ] = None,
    options: Annotated[
        dict[str, Any], Generated(GenerateOptions, leave_out=("seed",), flags=FLAGS)
    ],
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the sampling.")] = 0,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            "--stop", metavar="TEXT", help="End before this text. May be given several times."
        ),
    ] = None,
    mask: MaskOption = None,
    adapters: AdaptersOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where to write the result as JSON; or the calibration text, as .jsonl (field "
            "text) or .npy (token ids).",
        ),
    ] = None,
    machine: Machine,
) -> None:
    """Let a model write: continue prompts, or make calibration text."""
    if prompt is not None and prompts is not None:
        raise ArgumentError("give --prompt or --prompts, not both")
    texts = [prompt] if prompt is not None else _read_prompts(prompts) if prompts else None
    if calibration is not None:
        for name, value in {**options, "stop": stop or None}.items():
            if value is not None and name != "max_new_tokens":
                raise ArgumentError(
                    f"--{name.replace('_', '-')} does not go with --calibration, which samples at "
                    "temperature 1"
                )
        if out is None:
            raise ArgumentError("--out is missing: --calibration writes its text to a file")
        if out.suffix.lower() not in (".jsonl", ".npy"):
            raise ArgumentError(
                f"--out is {out}, but calibration text is written as .jsonl or .npy"
            )
        chosen = {
            "prompts": texts,
            "prompt_tokens": 8 if prompt_tokens is None else prompt_tokens,
            "max_new_tokens": options["max_new_tokens"] or CALIBRATION_TOKENS,
            "seed": seed,
        }
        _calibrate(model, machine, calibration, chosen, (mask, adapters), out)
        return
    if texts is None:
        raise ArgumentError("there is no text to continue: give --prompt or --prompts")
    if prompt_tokens is not None:
        raise ArgumentError("--prompt-tokens goes with --calibration only")
    results = Results(out)
    live = prompt is not None and not machine.json_
    with machine.open_for(mask, model) as (opened, given), Bar() as bar:
        writer, removed = _writer(opened, given, adapters)
        made = writer.generate(
            texts,
            seed=seed,
            stop=stop or (),
            on_token=_show if live else None,
            progress=None if live else bar,  # a bar would run into the text
            **options,
        )
        record = _record(made, texts, removed, writer)
    _print(made, texts, live, machine.json_, record)
    lines = results.record(out, record)
    if lines and not machine.json_:
        print(*lines, sep="\n", file=sys.stderr)
    results.end(record, is_printed=machine.json_)


def _calibrate(
    directory: Path,
    machine: Machine,
    n_sequences: int,
    chosen: dict[str, Any],
    files: tuple[Path | None, Path | None],
    out: Path,
) -> None:
    """Makes calibration text and writes it, so that `--data` reads it."""
    results = Results(out)
    mask, adapters = files
    with machine.open_for(mask, directory) as (opened, given), Bar() as bar:
        decoder = None if out.suffix.lower() == ".npy" else load_tokenizer(opened)
        writer, _ = _writer(opened, given, adapters)
        data = writer.generate_calibration(n_sequences, progress=bar, **chosen)
        record = {
            "file": str(out),
            "sequences": data.n_sequences,
            "tokens": data.n_tokens,
            "data_sha256": data.digest,
            "seed": chosen["seed"],
            "model": writer.provenance,
        }
    if decoder is None:
        # Rows of unequal length are one stream, which is cut into sequences when it is read.
        equal = len({len(row) for row in data.sequences}) == 1
        buffer = io.BytesIO()
        np.save(buffer, (np.stack if equal else np.concatenate)(data.sequences))
        content: bytes | str = buffer.getvalue()
    else:
        texts = (decoder.decode(row.tolist(), skip_special_tokens=True) for row in data.sequences)
        lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts]
        content = "".join(lines)
    parts = results.save(out, lambda place: write_whole(place, content))
    shown = f"{count(data.n_sequences)} sequences, {count(data.n_tokens)} tokens"
    machine.answer(record, shown, *parts, results=results)


def _writer(model: Model, given: Mask | None, adapters: Path | None) -> tuple[Model, list[str]]:
    """The model that writes: pruned, or recovered; and what is removed from it."""
    found = read_adapters(adapters, model, given)
    if found is not None:
        return found.attach(model), found.mask.removed
    model.mask = given
    return model, model.mask.removed


def _read_prompts(path: Path) -> list[str]:
    """The prompts of a file: its lines, or the texts of a .jsonl file; empty ones are left out."""
    if path.suffix.lower() == ".jsonl":
        found = list(documents(path))
    else:
        found = [line for text in documents(path) for line in text.splitlines() if line.strip()]
    if not found:
        raise ArgumentError(f"{path} holds no prompt")
    return found


def _show(token: GeneratedToken) -> None:
    sys.stdout.write(token.text)
    sys.stdout.flush()


def _print(
    made: Generation, texts: list[str], live: bool, json_: bool, record: dict[str, Any]
) -> None:
    """The texts on standard output, what they took on standard error; or one JSON object."""
    if json_:
        Output(True).result(record)
        return
    if live:
        sys.stdout.write("\n")
    else:
        for text, new in zip(texts, made.texts or [], strict=True):
            sys.stdout.write(f"{text}{new}\n\n")
    sys.stdout.flush()
    rate = made.new_tokens / made.seconds if made.seconds > 0 else 0.0
    reasons = ", ".join(sorted(set(made.reasons)))
    print(
        f"{count(made.new_tokens)} tokens, {rate:,.1f} per second; key-value cache "
        f"{count(made.kv_bytes_peak)} bytes; ended by {reasons}",
        file=sys.stderr,
    )


def _record(made: Generation, texts: list[str], removed: list[str], model: Model) -> dict[str, Any]:
    record = made.to_dict()
    for text, sequence in zip(texts, record["sequences"], strict=True):
        sequence["prompt"] = text
    return {**record, "removed": removed, "model": model.provenance}
