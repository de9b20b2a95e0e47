# SPDX-License-Identifier: Apache-2.0
"""Multiple-choice questions, as values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import overload

from prunecore._native.given import listed
from prunecore._native.numbers import checked_count
from prunecore._native.paths import PathLike
from prunecore.data.choice_files import read
from prunecore.data.choice_item import ChoiceItem
from prunecore.data.draw import chosen_indices
from prunecore.errors import ArgumentError


class ChoiceSet:
    """Multiple-choice questions, and examples to show before them. Immutable.

    Parameters
    ----------
    items : iterable of ChoiceItem
        At least one.
    examples : iterable of ChoiceItem
        Solved questions for prompts with shots: see `examples_for`.
    """

    def __init__(
        self, items: Iterable[ChoiceItem], examples: Iterable[ChoiceItem] | None = None
    ) -> None:
        self._items = _checked(items)
        self._examples = _checked(() if examples is None else examples)
        if not self._items:
            raise ArgumentError("there are no multiple-choice questions")
        self._by_subject: dict[str, list[ChoiceItem]] = {}
        for example in self._examples:
            self._by_subject.setdefault(example.subject, []).append(example)

    @classmethod
    def load(
        cls, path: PathLike, examples: PathLike | None = None, *, split: str = "test"
    ) -> ChoiceSet:
        """Reads questions from a file, or from a directory of MMLU.

        Parameters
        ----------
        path : path
            `.jsonl` or `.json`: one object per line, or a list of them, with
            `question`, `choices` (a list of texts), `answer`
            (index from 0, or letter, or the text of the right choice) and, if wanted, `subject`.
            `query` and `gold` are taken for `question` and `answer`, too. `.csv`: rows of question,
            choices and answer letter without a heading, as in MMLU. A directory: MMLU's, with
            `dev/<subject>_dev.csv` and `test/<subject>_test.csv`, or one that holds it as `data`.
        examples : path, optional
            A file with examples for prompts with shots. Default: `dev` of an MMLU directory.
        split : str
            Which folder of an MMLU directory holds the questions: "test" or "val".

        Raises
        ------
        FileError
            A file is missing or unreadable.
        FormatError
            A line is not a question; the text names file, line and what is wrong.
        """
        items, shown = read(path, split)
        if examples is not None:
            shown = read(examples, split)[0]
        return cls(items, shown)

    @property
    def items(self) -> tuple[ChoiceItem, ...]:
        """The questions."""
        return self._items

    @property
    def examples(self) -> tuple[ChoiceItem, ...]:
        """All examples."""
        return self._examples

    @property
    def subjects(self) -> tuple[str, ...]:
        """What the questions are about, each subject once, sorted."""
        return tuple(sorted({item.subject for item in self._items}))

    def examples_for(self, item: ChoiceItem, count: int) -> list[ChoiceItem]:
        """The first `count` examples of the item's subject.

        Where a subject has none, those without a subject serve. The item itself is left out: one
        fewer if it is among them and there is no other to take its place.

        Raises
        ------
        ArgumentError
            There are fewer.
        """
        if checked_count("shots", count, 0) == 0:
            return []
        known = self._by_subject.get(item.subject) or self._by_subject.get("", [])
        if len(known) < count:
            subject = f" of {item.subject}" if item.subject else ""
            raise ArgumentError(f"{count} shots need {count} examples{subject}, not {len(known)}")
        return [example for example in known if example != item][:count]

    def draw(self, limit: int | None, seed: int | None = None) -> ChoiceSet:
        """At most `limit` of the questions, with all examples.

        Parameters
        ----------
        limit : int or None
            None = all.
        seed : int, optional
            Given: drawn without replacement, in their order. Not given: all subjects give alike,
            each its first ones.
        """
        subjects = [item.subject for item in self._items]
        indices = chosen_indices(len(self), limit, seed, subjects)
        return ChoiceSet([self._items[index] for index in indices], self._examples)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[ChoiceItem]:
        return iter(self._items)

    @overload
    def __getitem__(self, part: int) -> ChoiceItem: ...

    @overload
    def __getitem__(self, part: slice) -> ChoiceSet: ...

    def __getitem__(self, part: int | slice) -> ChoiceItem | ChoiceSet:
        try:
            if isinstance(part, slice):
                return ChoiceSet(self._items[part], self._examples)
            return self._items[part]
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(f"questions are taken by number or slice: {error}") from error

    def __repr__(self) -> str:
        return (
            f"ChoiceSet(n_items={len(self)}, n_subjects={len(self.subjects)}, "
            f"n_examples={len(self._examples)})"
        )


def _checked(items: Iterable[ChoiceItem]) -> tuple[ChoiceItem, ...]:
    found = tuple(listed("questions", items))
    for index, item in enumerate(found):
        if not isinstance(item, ChoiceItem):
            raise ArgumentError(f"question {index} is a {type(item).__name__}, not a ChoiceItem")
    return found
