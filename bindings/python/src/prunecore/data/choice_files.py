# SPDX-License-Identifier: Apache-2.0
"""Multiple-choice questions from files: JSON lines, and the csv files of MMLU."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunecore._native.paths import PathLike, as_path
from prunecore._native.reading import given_text, parse_json, read_text
from prunecore.data.choice_item import ChoiceItem
from prunecore.errors import ArgumentError, FileError, FormatError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Names of the choices, in their order."""


def read(path: PathLike, split: str = "test") -> tuple[list[ChoiceItem], list[ChoiceItem]]:
    """Questions, and examples if there are any beside them: see `ChoiceSet.load`."""
    source = as_path(path, "the questions")
    given_text("split", split)
    if os.path.isdir(source):
        return _read_mmlu(source, split)
    items = list(_csv(source) if source.suffix.lower() == ".csv" else _jsonl(source))
    if not items:
        raise FormatError(f"{source} holds no multiple-choice question")
    return items, []


def _read_mmlu(directory: Path, split: str) -> tuple[list[ChoiceItem], list[ChoiceItem]]:
    root = directory if os.path.isdir(directory / split) else directory / "data"
    files = sorted((root / split).glob(f"*_{split}.csv")) if os.path.isdir(root / split) else []
    if not files:
        raise FileError(
            f"{directory} is not an MMLU directory: it lacks {split}/<subject>_{split}.csv; "
            "a .jsonl or .csv file of questions is also taken"
        )
    shown = sorted((root / "dev").glob("*_dev.csv"))
    return (
        [item for file in files for item in _csv(file)],
        [item for file in shown for item in _csv(file)],
    )


def _csv(path: Path) -> Iterator[ChoiceItem]:
    subject, _, split = path.stem.rpartition("_")
    subject = subject if split in ("dev", "val", "test") else ""
    reader = csv.reader(io.StringIO(read_text(path)), strict=True)
    while True:
        try:
            row = next(reader, None)
            if row is None:
                return
            if row:
                yield _from_row(row, subject)
        except (csv.Error, ArgumentError) as error:
            raise FormatError(f"{path}, line {reader.line_num}: {error}") from error


def _from_row(row: list[str], subject: str) -> ChoiceItem:
    if len(row) < 4:
        raise ArgumentError(
            f"{len(row)} fields, but a question, at least 2 choices and a letter are needed"
        )
    choices, letter = row[1:-1], row[-1].strip()
    answer = LETTERS.find(letter) if len(letter) == 1 else -1
    if not 0 <= answer < len(choices):
        last = LETTERS[min(len(choices), len(LETTERS)) - 1]
        raise ArgumentError(f"the answer is '{letter}', but the choices are A to {last}")
    return ChoiceItem(question=row[0], choices=tuple(choices), answer=answer, subject=subject)


def _jsonl(path: Path) -> Iterator[ChoiceItem]:
    content = read_text(path)
    if path.suffix.lower() == ".json" and content.lstrip()[:1] == "[":
        try:
            entries = parse_json(content)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
        for number, entry in enumerate(entries):
            try:
                yield _from_record(entry)
            except ArgumentError as error:
                raise FormatError(f"{path}, entry {number}: {error}") from error
        return
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield _from_record(parse_json(line))
        except ArgumentError as error:
            raise FormatError(f"{path}, line {number}: {error}") from error
        except FormatError as error:
            raise FormatError(f"{path}, line {number}: no JSON: {error}") from error


def _from_record(record: Any) -> ChoiceItem:
    if not isinstance(record, dict):
        raise ArgumentError("no JSON object")
    # "query" and "gold" are what several collections call the two, ARC-easy's among them.
    question, answer = _field(record, "question", "query"), _field(record, "answer", "gold")
    choices = _field(record, "choices")
    if not isinstance(choices, list):
        raise ArgumentError('"choices" is not a list of texts')
    subject = record.get("subject", "")
    item = ChoiceItem(
        question=question,
        choices=tuple(choices),
        answer=0,
        subject="" if subject is None else subject,
    )
    return ChoiceItem(
        question=item.question,
        choices=item.choices,
        answer=_answer(answer, item.choices),
        subject=item.subject,
    )


def _field(record: dict[str, Any], *names: str) -> Any:
    for name in names:
        if name in record:
            return record[name]
    others = f" (or {names[1]})" if len(names) > 1 else ""
    raise ArgumentError(f"the field {names[0]}{others} is missing")


def _answer(answer: Any, choices: tuple[str, ...]) -> Any:
    """Index of the right choice, given as an index, as a letter, or as the choice's text."""
    if not isinstance(answer, str):
        return answer  # ChoiceItem says if it is not an index
    named = {index for index, choice in enumerate(choices) if choice == answer}
    letter = answer.strip()
    if len(letter) == 1 and letter in LETTERS[: len(choices)]:
        named.add(LETTERS.index(letter))
    if len(named) != 1:
        problem = "stands for several of them" if named else "is none of them"
        raise ArgumentError(
            f"the answer is '{answer}', which {problem}: give an index from 0, "
            "a letter, or the text of a choice"
        )
    return named.pop()
