# SPDX-License-Identifier: Apache-2.0
"""A multiple-choice question, as a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prunecore._native.given import listed
from prunecore._native.paths import shown
from prunecore._native.reading import given_text
from prunecore.errors import ArgumentError


@dataclass(frozen=True)
class ChoiceItem:
    """One multiple-choice question.

    Attributes
    ----------
    question : str
        Not empty.
    choices : tuple of str
        At least two, none of them blank.
    answer : int
        Index of the right one, from 0.
    subject : str
        What the question is about, such as "high_school_biology"; "" = not said.

    Raises
    ------
    ArgumentError
        A field is not as said above.
    """

    question: str
    choices: tuple[str, ...]
    answer: int
    subject: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.question, str) or not self.question.strip():
            raise ArgumentError("the question is not text, or empty")
        object.__setattr__(self, "choices", tuple(listed("the choices", self.choices)))
        if len(self.choices) < 2:
            raise ArgumentError(f"at least 2 choices are needed, but there are {len(self.choices)}")
        for index, choice in enumerate(self.choices):
            if not isinstance(choice, str) or not choice.strip():
                raise ArgumentError(f"choice {index} is not text, or empty")
        if isinstance(self.answer, bool) or not isinstance(self.answer, (int, np.integer)):
            raise ArgumentError(f"the answer {shown(self.answer)} is not an index of a choice")
        if not 0 <= self.answer < len(self.choices):
            last = len(self.choices) - 1
            raise ArgumentError(
                f"the answer is {shown(self.answer)}, but the choices are 0 to {last}"
            )
        object.__setattr__(self, "answer", int(self.answer))
        if not isinstance(self.subject, str):
            raise ArgumentError(f"the subject {shown(self.subject)} is not text")
        for text in (self.question, *self.choices, self.subject):
            given_text("a question, choice or subject", text)
