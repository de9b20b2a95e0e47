# SPDX-License-Identifier: Apache-2.0
"""Multiple-choice questions as token sequences, with which of them is right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.given import listed
from prunecore._native.library import ffi, lib, new_struct
from prunecore._native.numbers import checked_count
from prunecore._native.paths import shown
from prunecore.data.data import Data
from prunecore.data.token_rows import Tokens, as_tokens, checked_indices, checked_slice
from prunecore.errors import ArgumentError, DataError

ChoiceScore = Literal["sum", "mean"]


class ChoiceData(Data):
    """Multiple-choice questions as tokens. `Data.from_choices` makes them from text.

    They can be used wherever data can. Calls that do not know of choices see one sequence per
    question where all candidates are single tokens (the context and the right one), else one per
    candidate; the tokens of the right candidates weigh 1 and all others 0, so that the loss is that
    of the right answers. Length and slices count questions.

    Parameters
    ----------
    contexts : sequence of sequences of int
        Token ids before the candidates, one entry per question.
    candidates : sequence of sequences of sequences of int
        For each question two or more candidates, each of one token or more.
    answers : sequence of int
        For each question the index of the right candidate.
    score : {"sum", "mean"}
        Whether candidates are compared by their log-likelihood, or by that per token.
    subjects : sequence of str, optional
        What each question is about. Default: "".
    shots : sequence of int, optional
        Examples shown before each question, for the record. Default: 0.
    scoring : str, optional
        How the candidates were made, for the record: "letter", "sum" or "mean". Default: `score`.

    Raises
    ------
    DataError
        There is no question, a context or candidate is empty, or an id is negative.
    ArgumentError
        Lengths do not match, or an answer is out of range.
    """

    def __init__(
        self,
        contexts: Sequence[Any],
        candidates: Sequence[Sequence[Any]],
        answers: Sequence[int],
        score: ChoiceScore = "sum",
        *,
        subjects: Sequence[str] | None = None,
        shots: Sequence[int] | None = None,
        scoring: str | None = None,
    ) -> None:
        if str(score) not in ("sum", "mean"):
            raise ArgumentError(f"score is {shown(score)}, but must be sum or mean")
        contexts, candidates = listed("contexts", contexts), listed("candidates", candidates)
        answers = listed("answers", answers)
        count = len(contexts)
        subjects = [""] * count if subjects is None else listed("subjects", subjects)
        shots = [0] * count if shots is None else listed("shots", shots)
        counts = {
            "candidates": len(candidates),
            "answers": len(answers),
            "subjects": len(subjects),
            "shots": len(shots),
        }
        for name, number in counts.items():
            if number != count:
                raise ArgumentError(f"there are {count} contexts, but {number} {name}")
        if count == 0:
            raise DataError("there are no multiple-choice questions")
        self._score: ChoiceScore = score
        self._scoring = score if scoring is None else str(scoring)
        self._subjects = tuple(str(subject) for subject in subjects)
        self._shots = tuple(checked_count("shots", shot, 0) for shot in shots)
        self._answers = tuple(
            checked_count(f"question {i}: the answer", answer, 0)
            for i, answer in enumerate(answers)
        )
        self._contexts = tuple(_row(f"question {i}", row) for i, row in enumerate(contexts))
        self._candidates = tuple(
            tuple(
                _row(f"question {i}, candidate {j}", row)
                for j, row in enumerate(listed(f"candidates of question {i}", rows))
            )
            for i, rows in enumerate(candidates)
        )
        for index, (rows, answer) in enumerate(zip(self._candidates, self._answers, strict=True)):
            if len(rows) < 2:
                raise DataError(f"question {index} needs at least 2 candidates, not {len(rows)}")
            if not 0 <= answer < len(rows):
                raise ArgumentError(
                    f"question {index}: the answer is {answer}, "
                    f"but the candidates are 0 to {len(rows) - 1}"
                )
        super().__init__(*self._laid_out())

    def _laid_out(self) -> tuple[list[Tokens], list[npt.NDArray[np.float32]]]:
        """The sequences and weights that calls see that do not know of choices."""
        sequences, weights = [], []
        for context, rows, answer in zip(
            self._contexts, self._candidates, self._answers, strict=True
        ):
            single = all(len(row) == 1 for row in rows)
            for index, row in enumerate(rows):
                if single and index != answer:
                    continue
                sequences.append(np.concatenate([context, row]))
                weight = np.zeros(len(context) + len(row), dtype=np.float32)
                weight[len(context) :] = index == answer
                weights.append(weight)
        return sequences, weights

    def _make(self, out: Any) -> int:
        rows = [row for rows in self._candidates for row in rows]
        arrays = {
            "context_ids": ("int32_t[]", np.concatenate(self._contexts)),
            "context_lengths": ("int64_t[]", _lengths(self._contexts)),
            "n_candidates": ("int64_t[]", _lengths(self._candidates)),
            "candidate_ids": ("int32_t[]", np.concatenate(rows)),
            "candidate_lengths": ("int64_t[]", _lengths(rows)),
            "answers": ("int64_t[]", np.array(self._answers, dtype=np.int64)),
        }
        choices = new_struct("prune_choices")
        choices.score = ffi.integer_const(f"PRUNE_CHOICE_SCORE_{self._score.upper()}")
        choices.n_items = self.n_items
        pointers = {}  # the struct borrows them until the call is over
        for name, (kind, array) in arrays.items():
            pointers[name] = ffi.from_buffer(kind, array)
            setattr(choices, name, pointers[name])
        return int(lib.prune_data_create_choices(choices, out))

    @property
    def n_items(self) -> int:
        """Number of questions."""
        return len(self._contexts)

    @property
    def contexts(self) -> tuple[Tokens, ...]:
        """Token ids before the candidates, one read-only int32 array per question."""
        return self._contexts

    @property
    def candidates(self) -> tuple[tuple[Tokens, ...], ...]:
        """Token ids of the candidates of each question."""
        return self._candidates

    @property
    def answers(self) -> tuple[int, ...]:
        """Index of the right candidate of each question."""
        return self._answers

    @property
    def subjects(self) -> tuple[str, ...]:
        """What each question is about; "" = not said."""
        return self._subjects

    @property
    def shots(self) -> tuple[int, ...]:
        """Examples shown before each question: fewer than asked for where the prompt was long."""
        return self._shots

    @property
    def score(self) -> ChoiceScore:
        """How candidates are compared: by log-likelihood ("sum"), or by that per token ("mean")."""
        return self._score

    @property
    def scoring(self) -> str:
        """How the candidates were made: "letter", "sum" or "mean"."""
        return self._scoring

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the questions: contexts, candidates, answers, and how they compare.

        Hashed are the words "sum" or "mean", then for each question its answer, number of
        candidates, and context and candidates with their lengths (little-endian int64; ids int32).
        """
        digest = hashlib.sha256(self._score.encode())
        for context, rows, answer in zip(
            self._contexts, self._candidates, self._answers, strict=True
        ):
            digest.update(np.array([answer, len(rows)], dtype="<i8").tobytes())
            for row in (context, *rows):
                digest.update(np.int64(len(row)).astype("<i8").tobytes())
                digest.update(row.astype("<i4").tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return self.n_items

    def __getitem__(self, part: slice) -> ChoiceData:
        """Some of the questions, as data of their own: `data[:16]`."""
        return self.select(checked_slice(part, self.n_items))

    def select(self, indices: Iterable[int]) -> ChoiceData:
        """The questions with these indices, in this order, as data of their own."""
        chosen = checked_indices(indices, self.n_items)
        return ChoiceData(
            [self._contexts[i] for i in chosen],
            [self._candidates[i] for i in chosen],
            [self._answers[i] for i in chosen],
            self._score,
            subjects=[self._subjects[i] for i in chosen],
            shots=[self._shots[i] for i in chosen],
            scoring=self._scoring,
        )

    @classmethod
    def _joined(cls, parts: Sequence[Any]) -> ChoiceData:
        """All questions of several data sets that are scored alike: see `Data.concatenate`."""
        ways = {(part.score, part.scoring) for part in parts}
        if len(ways) > 1:
            raise ArgumentError("questions that are scored in different ways cannot be joined")
        return ChoiceData(
            [row for part in parts for row in part.contexts],
            [rows for part in parts for rows in part.candidates],
            [answer for part in parts for answer in part.answers],
            parts[0].score,
            subjects=[subject for part in parts for subject in part.subjects],
            shots=[shot for part in parts for shot in part.shots],
            scoring=parts[0].scoring,
        )

    def __repr__(self) -> str:
        return f"ChoiceData(n_items={self.n_items}, scoring='{self.scoring}')"


def _row(name: str, ids: Any) -> Tokens:
    tokens = as_tokens(name, ids)
    if len(tokens) == 0:
        raise DataError(f"{name} has no tokens")
    return tokens


def _lengths(rows: Sequence[Any]) -> npt.NDArray[np.int64]:
    return np.array([len(row) for row in rows], dtype=np.int64)
