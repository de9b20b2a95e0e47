# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import prunecore
from prunecore._native.runtime import set_threads
from prunecore.data.choice_data import ChoiceData
from prunecore.data.choice_set import ChoiceSet
from prunecore.data.data import Data
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Mask
from prunecore.model import Model
from prunecore.recovery.adapters import Adapters

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Directory of a Hugging Face model.")
]
DataOption = Annotated[
    list[Path],
    typer.Option(
        "--data",
        metavar="FILE",
        help="Text (.txt; .jsonl, field text) or token ids (.npy). May be given several times.",
    ),
]
OptionalDataOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="As for evaluate; not needed if magnitude is the only metric.",
    ),
]
EvaluatedDataOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="Text (.txt; .jsonl, field text) or token ids (.npy). May be given several times.",
    ),
]
ChoicesOption = Annotated[
    Path | None,
    typer.Option(
        "--choices",
        metavar="F_OR_DIR",
        help="Multiple-choice questions: .jsonl (question, choices, answer, subject), .csv as in "
        "MMLU, or MMLU's directory.",
    ),
]
ExamplesOption = Annotated[
    Path | None,
    typer.Option(
        "--examples",
        metavar="FILE",
        help="Solved questions for --shots. Default: dev of MMLU's directory.",
    ),
]
ShotsOption = Annotated[
    int, typer.Option("--shots", metavar="K", help="Solved questions shown before each question.")
]
ScoringOption = Annotated[
    str,
    typer.Option(
        "--scoring",
        metavar="HOW",
        help="letter: of the answer, after the listed choices; sum, mean: log-likelihood of each "
        "choice's text, whole or per token.",
    ),
]
ScoresOption = Annotated[
    Path, typer.Option("--scores", metavar="FILE", help="Scores that `score --out` wrote.")
]
MaskOption = Annotated[
    Path | None, typer.Option("--mask", metavar="FILE", help="Mask that `prune --out` wrote.")
]
AdaptersOption = Annotated[
    Path | None,
    typer.Option(
        "--adapters",
        metavar="DIR",
        help="Adapters that `recover --out` wrote: work on the recovered model.",
    ),
]
OnlyOption = Annotated[
    str | None,
    typer.Option("--only", metavar="KIND", help="Remove only attention, or only feed_forward."),
]
LengthOption = Annotated[
    int,
    typer.Option(
        "--sequence-length", metavar="N", help="Tokens per sequence; 0 = one sequence per document."
    ),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", metavar="N", help="Sequences (or questions) used at most.")
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Draw the sequences of --limit at random."),
]
ComputeOption = Annotated[
    str | None,
    typer.Option(
        "--compute",
        metavar="TYPE",
        help="Type of matrix products: float32 or bfloat16. Default: bfloat16 for bf16 weights "
        "where the CPU has it.",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Threads; 0 = one per processor.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def apply_threads(threads: int | None) -> None:
    """Sets the number of threads if one is given."""
    if threads is not None:
        set_threads(threads)


def open_model(directory: Path, compute: str | None) -> Model:
    """Opens the model of a command."""
    return prunecore.open(directory, compute)  # type: ignore[arg-type]  # the call checks the name


def read_data(
    paths: list[Path], model: Model, sequence_length: int, limit: int | None, seed: int | None
) -> Data:
    """Reads the data files of a command."""
    if sequence_length < 0:
        raise ArgumentError(f"--sequence-length is {sequence_length}, but must not be negative")
    _check_seed(seed)
    return Data.from_file(list(paths), model, sequence_length or None, limit=limit, seed=seed)


def read_choices(
    path: Path,
    model: Model,
    examples: Path | None,
    shots: int,
    scoring: str,
    limit: int | None,
    seed: int | None,
) -> ChoiceData:
    """Reads the multiple-choice questions of a command."""
    _check_seed(seed)
    questions = ChoiceSet.load(path, examples)
    if shots and not questions.examples:
        raise ArgumentError(
            f"--shots {shots} needs solved questions, and {path} brings none: give --examples"
        )
    return Data.from_choices(
        questions,
        model,
        scoring,  # type: ignore[arg-type]  # the call checks the name
        shots=shots,
        limit=limit,
        seed=seed,
    )


def _check_seed(seed: int | None) -> None:
    if seed is not None and seed < 0:
        raise ArgumentError(f"--seed is {seed}, but must not be negative")


def read_mask(path: Path | None, model: Model) -> Mask | None:
    """Reads the mask of a command, and checks that it fits the model."""
    if path is None:
        return None
    mask = Mask.load(path)
    if mask.n_blocks != model.shape.n_blocks:
        raise ArgumentError(
            f"{path} is for {mask.n_blocks} blocks, but the model has {model.shape.n_blocks}"
        )
    return mask


def read_adapters(path: Path | None, model: Model, mask: Mask | None) -> Adapters | None:
    """Reads the adapters of a command, and checks that they are for the mask if one is given."""
    if path is None:
        return None
    adapters = Adapters.load(path)
    if adapters.summary.n_blocks != model.shape.n_blocks:
        raise ArgumentError(
            f"{path} is for {adapters.summary.n_blocks} blocks, but the model has "
            f"{model.shape.n_blocks}"
        )
    if mask is not None:
        adapters.check_mask(mask)
    return adapters
