# SPDX-License-Identifier: Apache-2.0
"""How well a model answers multiple-choice questions under a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore.data.choice_data import ChoiceData

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SubjectAccuracy:
    """Answers to the questions of one subject.

    Attributes
    ----------
    n_items, n_correct : int
        Questions, and how many were answered rightly.
    accuracy : float
        Their share.
    standard_error : float or None
        Of the accuracy, questions being a sample: sqrt(p (1 - p) / (n - 1)); None for one question.
    """

    n_items: int
    n_correct: int
    accuracy: float
    standard_error: float | None

    @classmethod
    def of(cls, correct: Sequence[bool] | npt.NDArray[np.bool_]) -> SubjectAccuracy:
        """That of some answers, one truth value each."""
        count, right = len(correct), int(np.sum(correct))
        share = right / count
        error = math.sqrt(share * (1 - share) / (count - 1)) if count > 1 else None
        return cls(count, right, share, error)


@dataclass(frozen=True)
class ChoiceEvaluation:
    """How well a model answers multiple-choice questions.

    Attributes
    ----------
    n_items : int
        Questions.
    accuracy : float
        Micro average: share of all questions answered rightly. Ties count for the first candidate.
    standard_error : float or None
        Of the micro average: sqrt(p (1 - p) / (n - 1)); None for one question.
    macro_accuracy : float
        Mean of the subjects' accuracies, however many questions each has.
    macro_standard_error : float or None
        sqrt of the sum of the subjects' squared standard errors, over the number of subjects; None
        where a subject has one question only.
    choice_loss : float
        Mean over questions of -log softmax over the candidates' scores, at the answer; nats.
    chance : float
        Accuracy to expect of guessing: the mean of 1 / number of candidates.
    scoring : str
        How candidates were scored: "letter", "sum" or "mean".
    by_subject : dict of str to SubjectAccuracy
        Sorted; questions of no subject are under "".
    log_likelihoods : tuple of array of float
        For each question the log-likelihood of each candidate: nats, summed over its tokens.
    predictions : tuple of int
        For each question the candidate with the highest score.
    """

    n_items: int
    accuracy: float
    standard_error: float | None
    macro_accuracy: float
    macro_standard_error: float | None
    choice_loss: float
    chance: float
    scoring: str
    by_subject: dict[str, SubjectAccuracy]
    log_likelihoods: tuple[Values, ...] = field(repr=False, compare=False)
    predictions: tuple[int, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All fields for JSON, but for what is said of single questions."""
        record = asdict(self)
        del record["log_likelihoods"], record["predictions"]
        return record


def summarise(data: ChoiceData, log_likelihoods: Sequence[Values]) -> ChoiceEvaluation:
    """What log-likelihoods of the candidates come to: see `ChoiceEvaluation`."""
    predictions, losses = [], []
    for rows, answer, sums in zip(data.candidates, data.answers, log_likelihoods, strict=True):
        lengths = [len(row) for row in rows]
        scores = sums / lengths if data.score == "mean" else sums
        predictions.append(int(np.argmax(scores)))
        top = float(scores.max())
        losses.append(top + math.log(float(np.exp(scores - top).sum())) - float(scores[answer]))
    correct = np.array(predictions) == np.array(data.answers)
    named = np.array(data.subjects)
    subjects = {
        name: SubjectAccuracy.of(correct[named == name]) for name in sorted(set(data.subjects))
    }
    whole = SubjectAccuracy.of(correct)
    errors = [found.standard_error for found in subjects.values()]
    known = [error for error in errors if error is not None]
    return ChoiceEvaluation(
        n_items=whole.n_items,
        accuracy=whole.accuracy,
        standard_error=whole.standard_error,
        macro_accuracy=float(np.mean([found.accuracy for found in subjects.values()])),
        macro_standard_error=(
            math.sqrt(sum(error**2 for error in known)) / len(errors)
            if len(known) == len(errors)
            else None
        ),
        choice_loss=float(np.mean(losses)),
        chance=float(np.mean([1 / len(rows) for rows in data.candidates])),
        scoring=data.scoring,
        by_subject=subjects,
        log_likelihoods=tuple(log_likelihoods),
        predictions=tuple(predictions),
    )
