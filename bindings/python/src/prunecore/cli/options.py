# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and what they read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

import prunecore
from prunecore._native.runtime import set_threads
from prunecore.cli.flags import FlagGroup
from prunecore.cli.output import Output
from prunecore.cli.results import Results
from prunecore.data.choice_data import ChoiceData
from prunecore.data.choice_set import ChoiceSet
from prunecore.data.data import Data
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Mask
from prunecore.model import Model
from prunecore.recovery.adapters import Adapters

FILES = (
    "Text (.txt; .jsonl or .json with a field text) or token ids (.npy). May be given several "
    "times."
)

ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="Directory of a Hugging Face model, GGUF file, or name on the hub: org/name, or "
        "org/name/file.gguf.",
    ),
]
StudiedModelArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="MODEL",
        help="Directory of a Hugging Face model, GGUF file, or name on the hub: org/name, or "
        "org/name/file.gguf. Default: the repository's small model.",
    ),
]
DataOption = Annotated[list[Path], typer.Option("--data", metavar="FILE", help=FILES)]
MeasuredDataOption = Annotated[
    list[Path] | None, typer.Option("--data", metavar="FILE", help=FILES)
]
ScoredDataOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", metavar="FILE", help=f"{FILES} Not needed if magnitude is the only metric."
    ),
]
ComparedDataOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help=f"What to compare logits on. {FILES} Default: token ids drawn at random.",
    ),
]
StudiedDataOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="Text to learn from, or to search on. May be given several times. Default, for the "
        "repository's model: its own texts.",
    ),
]
StudiedHeldOutOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--held-out",
        metavar="FILE",
        help="Other text to measure on. Default: the last sixth of the documents of each file.",
    ),
]
ScoresOption = Annotated[
    Path,
    typer.Option(
        "--scores", metavar="FILE", help="Scores that `score --out` or `shapley --out` wrote."
    ),
]
MASKS = "Mask that `prune --out`, `search --out` or `mask convert --out` wrote."
MaskOption = Annotated[Path | None, typer.Option("--mask", metavar="FILE", help=MASKS)]
GivenMaskOption = Annotated[Path, typer.Option("--mask", metavar="FILE", help=MASKS)]
AdaptersOption = Annotated[
    Path | None,
    typer.Option(
        "--adapters",
        metavar="DIR",
        help="Adapters that `recover --out` wrote: use the recovered model.",
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
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="File that keeps the state of the run; the same command resumes from it.",
    ),
]
OutFileOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Where to write the result as JSON.")
]
OutFolderOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where to write tables, JSON and pictures.")
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Where to draw the result.")
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@dataclass(frozen=True, kw_only=True)
class Machine(FlagGroup):
    """How a command computes, and how it answers."""

    compute: Annotated[
        str | None,
        typer.Option(
            "--compute",
            metavar="TYPE",
            help="Type of matrix products: float32 or bfloat16. Default: bfloat16 for bf16 "
            "weights where the CPU has it.",
        ),
    ] = None
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            metavar="PLACE",
            help="Where weights are: mapped (in their files) or memory, for files that change.",
        ),
    ] = "mapped"
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", metavar="N", help="Number of threads; 0 = one for each processor."
        ),
    ] = None
    json_: JsonOption = False

    def apply(self) -> None:
        """Sets the number of threads if one is given."""
        if self.threads is not None:
            set_threads(self.threads)

    def open(self, directory: Path) -> Model:
        """Opens the model of a command."""
        self.apply()
        return prunecore.open(
            directory,
            self.compute,  # type: ignore[arg-type]  # checked there
            weights=self.weights,  # type: ignore[arg-type]  # and so is this
        )

    @contextmanager
    def open_for(self, mask: Path | None, directory: Path) -> Iterator[tuple[Model, Mask | None]]:
        """Opens the model of a command for a mask, whose edits of weights are made: with it."""
        with self.open(directory) as opened:
            given = _read_mask(mask, opened)
            if given is None or not given.edits:
                yield opened, given
                return
            with opened.edited(given) as edited:
                yield edited, given

    def answer(
        self, record: dict[str, Any], *parts: RenderableType, results: Results | None = None
    ) -> None:
        """Prints the result of a command, and says what could not be written of it."""
        Output(self.json_).result(record, *parts)
        if results is not None:
            results.end(record, is_printed=self.json_)


@dataclass(frozen=True, kw_only=True)
class Sequences(FlagGroup):
    """Which sequences of the data are used."""

    sequence_length: LengthOption = 256
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Use at most this many sequences or questions."),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            help="Draw the sequences of --limit at random with this seed. Default: the first ones "
            "of each file or subject, all alike.",
        ),
    ] = None

    def read(self, paths: Sequence[Path], model: Model) -> Data:
        """Reads data files."""
        return read_data(paths, model, self.sequence_length, self.limit, self.seed)

    def read_if_any(self, paths: Sequence[Path] | None, model: Model) -> Data | None:
        """Reads data files if there are any."""
        return self.read(paths, model) if paths else None


@dataclass(frozen=True, kw_only=True)
class Measured(Sequences):
    """What a model is measured on: text, or multiple-choice questions."""

    data: MeasuredDataOption = None
    choices: Annotated[
        Path | None,
        typer.Option(
            "--choices",
            metavar="F_OR_DIR",
            help="Multiple-choice questions: .jsonl (question, choices, answer, subject), .csv as "
            "in MMLU, or MMLU's directory.",
        ),
    ] = None
    examples: Annotated[
        Path | None,
        typer.Option(
            "--examples",
            metavar="FILE",
            help="Solved questions for --shots. Default: dev of MMLU's directory.",
        ),
    ] = None
    shots: Annotated[
        int,
        typer.Option("--shots", metavar="K", help="Solved questions shown before each question."),
    ] = 0
    scoring: Annotated[
        str,
        typer.Option(
            "--scoring",
            metavar="HOW",
            help="How a choice is scored. letter: its letter, after the listed choices; sum, mean: "
            "the log-likelihood of its text, whole or per token.",
        ),
    ] = "letter"

    def read_text(self, model: Model) -> Data | None:
        """Reads the text if any is given."""
        return self.read_if_any(self.data, model)

    def read_questions(self, model: Model) -> ChoiceData | None:
        """Reads the questions if any are given."""
        if self.choices is None:
            return None
        _check_seed(self.seed)
        questions = ChoiceSet.load(self.choices, self.examples)
        if self.shots and not questions.examples:
            raise ArgumentError(
                f"--shots {self.shots} needs solved questions, and {self.choices} brings none: "
                "give --examples"
            )
        return Data.from_choices(
            questions,
            model,
            self.scoring,  # type: ignore[arg-type]  # the call checks the name
            shots=self.shots,
            limit=self.limit,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class RunOn(Measured):
    """What a search or a game is run on: text or questions, and one seed for all that is drawn."""

    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            help="Seed of all random choices: which sequences --limit takes (without a seed, the "
            "first ones of each file or subject, all alike), and which masks the run tries "
            "(without a seed, as with 0).",
        ),
    ] = None

    def check(self, why: str) -> None:
        """Refuses flags that give both text and questions, or neither."""
        if (self.choices is None) == (not self.data):
            raise ArgumentError(f"give either --data or --choices: {why}")

    def read_either(self, model: Model) -> Data:
        """Reads the text or the questions."""
        questions = self.read_questions(model)
        return questions if questions is not None else self.read(self.data or [], model)


def read_data(
    paths: Sequence[Path],
    model: Model,
    sequence_length: int,
    limit: int | None = None,
    seed: int | None = None,
) -> Data:
    """Reads the data files of a command."""
    if sequence_length < 0:
        raise ArgumentError(f"--sequence-length is {sequence_length}, but must not be negative")
    _check_seed(seed)
    return Data.from_file(list(paths), model, sequence_length or None, limit=limit, seed=seed)


def _check_seed(seed: int | None) -> None:
    if seed is not None and seed < 0:
        raise ArgumentError(f"--seed is {seed}, but must not be negative")


def _read_mask(path: Path | None, model: Model) -> Mask | None:
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
