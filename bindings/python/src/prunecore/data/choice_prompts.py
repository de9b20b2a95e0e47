# SPDX-License-Identifier: Apache-2.0
"""Prompts of multiple-choice questions, as text and as tokens.

The text is that of MMLU as arXiv 2407.16286 uses it (its released code, which is that of
Hendrycks et al., 2021), down to the double space before the subject.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from prunecore._native.numbers import checked_count
from prunecore._native.paths import shown
from prunecore.data.choice_data import ChoiceData
from prunecore.data.choice_files import LETTERS
from prunecore.data.choice_item import ChoiceItem
from prunecore.data.choice_set import ChoiceSet
from prunecore.data.text import load_tokenizer, tokenize
from prunecore.errors import ArgumentError, DataError
from prunecore.opened import OpenModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from prunecore._native.paths import PathLike
    from prunecore.data.text import TokenizerSource

SCORINGS = ("letter", "sum", "mean")
MAX_TOKENS = 2048
"""Prompts of MMLU are kept to this length by leaving out shots."""

_CUE = "Answer:"

Ids = list[int]


def heading(subject: str) -> str:
    """The first line of a prompt; nothing where no subject is said."""
    if not subject:
        return ""
    # The original puts a space before every word of the subject, so that there are two here.
    words = "".join(f" {word}" for word in subject.split("_"))
    return f"The following are multiple choice questions (with answers) about {words}.\n\n"


def question_text(item: ChoiceItem, scoring: str) -> str:
    """A question up to and with "Answer:"; the choices are listed if letters are scored."""
    listed = ""
    if scoring == "letter":
        pairs = zip(LETTERS, item.choices, strict=False)
        listed = "".join(f"\n{letter}. {choice}" for letter, choice in pairs)
    return f"{item.question}{listed}\n{_CUE}"


def continuations(item: ChoiceItem, scoring: str) -> list[str]:
    """What may follow "Answer:": the letters, or the choices' texts."""
    if scoring == "letter":
        return [f" {letter}" for letter in LETTERS[: len(item.choices)]]
    return [f" {choice.strip()}" for choice in item.choices]


def prompt_text(item: ChoiceItem, examples: Sequence[ChoiceItem], scoring: str) -> str:
    """The prompt of a question after solved examples."""
    solved = (
        f"{question_text(example, scoring)}{continuations(example, scoring)[example.answer]}\n\n"
        for example in examples
    )
    return heading(item.subject) + "".join(solved) + question_text(item, scoring)


def encode(
    items: ChoiceSet | Iterable[ChoiceItem] | PathLike,
    tokenizer: TokenizerSource,
    scoring: str = "letter",
    *,
    shots: int = 0,
    limit: int | None = None,
    seed: int | None = None,
    max_tokens: int | None = None,
) -> ChoiceData:
    """Turns questions into data: see `Data.from_choices`."""
    if str(scoring) not in SCORINGS:
        raise ArgumentError(f"scoring is {shown(scoring)}, but must be {', '.join(SCORINGS)}")
    shots = checked_count("shots", shots, 0)
    longest = _longest(tokenizer, max_tokens)
    if isinstance(items, (str, os.PathLike)):
        items = ChoiceSet.load(items)
    questions = items if isinstance(items, ChoiceSet) else ChoiceSet(items)
    questions = questions.draw(limit, seed)
    split = _splitter(load_tokenizer(tokenizer), scoring)
    contexts, candidates, solved = [], [], []
    for number, item in enumerate(questions):
        if scoring == "letter" and len(item.choices) > len(LETTERS):
            raise ArgumentError(
                f"question {number} has {len(item.choices)} choices, but there are only "
                f"{len(LETTERS)} letters: use the scoring sum or mean"
            )
        examples = questions.examples_for(item, shots)
        context, rows = split(item, examples)
        # The last token of a candidate is predicted, but nothing is predicted from it.
        while examples and len(context) + max(map(len, rows)) - 1 > longest:
            examples = examples[:-1]
            context, rows = split(item, examples)
        contexts.append(context)
        candidates.append(rows)
        solved.append(len(examples))
    return ChoiceData(
        contexts,
        candidates,
        [item.answer for item in questions],
        "mean" if scoring == "mean" else "sum",
        subjects=[item.subject for item in questions],
        shots=solved,
        scoring=scoring,
    )


def _longest(tokenizer: TokenizerSource, max_tokens: int | None) -> int:
    if max_tokens is not None:
        return checked_count("max_tokens", max_tokens)
    if isinstance(tokenizer, OpenModel):
        return min(MAX_TOKENS, tokenizer.shape.context_length)
    return MAX_TOKENS


Splitter = Callable[[ChoiceItem, Sequence[ChoiceItem]], "tuple[Ids, list[Ids]]"]


def _splitter(encoder: Tokenizer, scoring: str) -> Splitter:
    """What gives the tokens of a prompt, and those of each candidate after it."""
    if scoring != "letter":

        def by_text(item: ChoiceItem, examples: Sequence[ChoiceItem]) -> tuple[Ids, list[Ids]]:
            prompt = prompt_text(item, examples, scoring)
            return _split(encoder, prompt, continuations(item, scoring))

        return by_text

    @cache
    def letters(count: int) -> tuple[Ids, list[Ids]]:
        return _letter_tokens(encoder, count)

    def by_letter(item: ChoiceItem, examples: Sequence[ChoiceItem]) -> tuple[Ids, list[Ids]]:
        lead, rows = letters(len(item.choices))
        return [*tokenize(encoder, prompt_text(item, examples, scoring)).tolist(), *lead], rows

    return by_letter


def _letter_tokens(encoder: Tokenizer, count: int) -> tuple[Ids, list[Ids]]:
    """Tokens between "Answer:" and the letters, and those of the letters themselves.

    The paper's code takes `tokenizer("A").input_ids[-1]`. With the sentencepiece models it was
    written for, that is the piece "▁A": the letter as it stands after a space, which is how the
    shots show it. Byte-level tokenizers would give the letter without its space there, so that
    " A" is encoded where it stands, after "Answer:". Nearly all tokenizers have one token for it,
    the same as the paper's. Where the space is a token of its own before every letter, it belongs
    to the prompt; where it is so before some letters only, those are scored as two tokens.
    """
    context, rows = _split(
        encoder, _CUE, [f" {letter}" for letter in LETTERS[:count]], within=False
    )
    cue = tokenize(encoder, _CUE).tolist()
    if context[: len(cue)] != cue:
        raise DataError(f'the tokenizer joins the letters with the end of "{_CUE}"')
    if len({tuple(row) for row in rows}) < count:
        raise DataError(
            f"the tokenizer does not tell the letters A to {LETTERS[count - 1]} apart: "
            "use the scoring sum or mean"
        )
    return context[len(cue) :], rows


def _split(
    encoder: Tokenizer, prompt: str, endings: Sequence[str], within: bool = True
) -> tuple[Ids, list[Ids]]:
    """The tokens that all of prompt + ending begin with, and the rest of each.

    The prompt and an ending are encoded as one text, since a tokenizer may join the last characters
    of one with the first of the other: what it joins is none of the prompt's. `within`: no more
    than the prompt's own tokens, even if all endings begin alike. Each keeps one token at least.
    """
    rows = [tokenize(encoder, prompt + ending).tolist() for ending in endings]
    compared = [row[:-1] for row in rows]
    if within:
        compared.append(tokenize(encoder, prompt).tolist())
    shared = 0
    for tokens in zip(*compared, strict=False):
        if len(set(tokens)) > 1:
            break
        shared += 1
    return rows[0][:shared], [row[shared:] for row in rows]
