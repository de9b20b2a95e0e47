# SPDX-License-Identifier: Apache-2.0
"""Answers to multiple-choice questions against logits, token losses and arithmetic."""

from __future__ import annotations

import math

import numpy as np
import prunecore as pc
import pytest
from prunecore.measures.choice_evaluation import SubjectAccuracy, summarise

WORDS = ["the boy", "a red ball", "seven apples", "nothing at all", "his mother", "home"]
NONE_LEFT = [f"block.{i}" for i in range(12)]


@pytest.fixture(scope="module")
def questions() -> pc.ChoiceSet:
    rng = np.random.default_rng(0)
    items = []
    for index in range(12):
        count = int(rng.integers(2, 6))
        chosen = tuple(WORDS[i] for i in rng.permutation(len(WORDS))[:count])
        subject = ["", "tales", "school_maths"][index % 3]
        items.append(
            pc.ChoiceItem(f"Number {index}: what was there?", chosen, index % count, subject)
        )
    return pc.ChoiceSet(items, [pc.ChoiceItem("Who ran?", ("the boy", "a stone"), 0)])


def log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    top = wide.max(axis=-1, keepdims=True)
    return wide - top - np.log(np.exp(wide - top).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("removed", [[], ["attn.3", "block.7"], NONE_LEFT])
def test_letters_are_scored_by_the_logits_of_the_last_position(
    model: pc.Model, questions: pc.ChoiceSet, removed: list[str]
) -> None:
    mask = pc.Mask.remove(removed, 12)
    data = pc.Data.from_choices(questions, model, shots=1)
    found = model.evaluate_choices(data, mask)
    for context, rows, answer, sums, choice in zip(
        data.contexts,
        data.candidates,
        data.answers,
        found.log_likelihoods,
        found.predictions,
        strict=True,
    ):
        last = log_softmax(model.logits(pc.Data([context]), mask)[-1])
        wanted = [last[row[0]] for row in rows]
        np.testing.assert_allclose(sums, wanted, atol=2e-4)
        if np.diff(np.sort(wanted)[-2:])[0] > 1e-3:
            assert choice == int(np.argmax(wanted))
        assert 0 <= answer < len(rows)
    right = [int(p == a) for p, a in zip(found.predictions, data.answers, strict=True)]
    assert found.accuracy == pytest.approx(sum(right) / 12)
    assert 0 < sum(right) < 12  # or the line above would say little


@pytest.mark.parametrize("scoring", ["sum", "mean"])
@pytest.mark.parametrize("removed", [[], ["attn.3", "block.7"]])
def test_texts_are_scored_by_the_losses_of_their_tokens(
    model: pc.Model, questions: pc.ChoiceSet, scoring: str, removed: list[str]
) -> None:
    mask = pc.Mask.remove(removed, 12)
    data = pc.Data.from_choices(questions, model, scoring)  # type: ignore[arg-type]
    found = model.evaluate_choices(data, mask)
    losses = []
    for context, rows, answer, sums, choice in zip(
        data.contexts,
        data.candidates,
        data.answers,
        found.log_likelihoods,
        found.predictions,
        strict=True,
    ):
        alone = pc.Data([np.concatenate([context, row]) for row in rows])
        each = np.split(
            model.token_losses(alone, mask), np.cumsum([len(row) for row in alone.sequences])[:-1]
        )
        wanted = np.array([-float(part[len(context) :].sum()) for part in each])
        np.testing.assert_allclose(sums, wanted, rtol=1e-4, atol=2e-4)
        scores = sums / [len(row) for row in rows] if scoring == "mean" else sums
        assert choice == int(np.argmax(scores))
        losses.append(-float(log_softmax(scores)[answer]))
    assert found.choice_loss == pytest.approx(np.mean(losses), rel=1e-9)
    assert len({len(row) for rows in data.candidates for row in rows}) > 1  # lengths do differ


def test_length_matters_to_the_mean_alone() -> None:
    data = {
        score: pc.ChoiceData([[1]], [[[2], [3, 4, 5]]], [1], score)  # type: ignore[arg-type]
        for score in ("sum", "mean")
    }
    sums = [np.array([-2.0, -3.0])]
    assert summarise(data["sum"], sums).predictions == (0,)
    assert summarise(data["mean"], sums).predictions == (1,)
    assert summarise(data["sum"], sums).choice_loss == pytest.approx(math.log(1 + math.e))
    assert summarise(data["mean"], sums).choice_loss == pytest.approx(math.log(1 + math.exp(-1)))


def test_accuracy_of_choices_is_counted_by_hand() -> None:
    # Subject a: 3 of 4 right; b: 0 of 2; the two averages differ.
    answers = [0, 0, 0, 0, 1, 1]
    better = [0, 0, 0, 1, 0, 0]
    data = pc.ChoiceData(
        [[1]] * 6, [[[2], [3]]] * 6, answers, subjects=["a", "a", "a", "a", "b", "b"]
    )
    sums = [np.array([-1.0, -2.0][:: 1 if first == 0 else -1]) for first in better]
    found = summarise(data, sums)
    assert (found.n_items, found.accuracy, found.macro_accuracy) == (6, 0.5, 0.375)
    assert found.standard_error == pytest.approx(math.sqrt(0.25 / 5))
    assert found.by_subject["a"] == SubjectAccuracy(4, 3, 0.75, math.sqrt(0.75 * 0.25 / 3))
    assert found.by_subject["b"] == SubjectAccuracy(2, 0, 0.0, 0.0)
    assert found.macro_standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 3) / 2)
    assert found.chance == 0.5
    record = found.to_dict()
    assert record["by_subject"]["a"]["n_correct"] == 3 and "predictions" not in record


def test_ties_go_to_the_first_and_one_question_has_no_error() -> None:
    data = pc.ChoiceData([[1]], [[[2], [3], [4]]], [1])
    found = summarise(data, [np.array([-2.0, -1.0, -1.0])])
    assert found.predictions == (1,) and found.accuracy == 1
    assert found.standard_error is None and found.macro_standard_error is None
    assert found.chance == pytest.approx(1 / 3)


def test_damages_are_those_of_the_evaluation(model: pc.Model, questions: pc.ChoiceSet) -> None:
    masks = [pc.Mask.all(12), pc.Mask.remove(["attn.3", "block.7"], 12)]
    for scoring in ("letter", "sum", "mean"):
        data = pc.Data.from_choices(questions, model, scoring)  # type: ignore[arg-type]
        found = [model.evaluate_choices(data, mask) for mask in masks]
        errors = model.damages(data, masks, measure="choice_error").values
        np.testing.assert_allclose(errors, [1 - each.accuracy for each in found], atol=1e-12)
        losses = model.damages(data, masks, measure="choice_loss").values
        np.testing.assert_allclose(losses, [each.choice_loss for each in found], atol=1e-5)


@pytest.mark.parametrize("scoring", ["letter", "sum"])
def test_calls_that_do_not_know_of_choices_see_the_right_answers(
    model: pc.Model, questions: pc.ChoiceSet, scoring: str
) -> None:
    data = pc.Data.from_choices(questions, model, scoring)  # type: ignore[arg-type]
    plain = pc.Data(data.sequences, data.token_weights)
    found = model.evaluate_choices(data)
    right = [sums[answer] for sums, answer in zip(found.log_likelihoods, data.answers, strict=True)]
    tokens = sum(len(rows[a]) for rows, a in zip(data.candidates, data.answers, strict=True))
    evaluation = model.evaluate(data)
    assert evaluation.loss == pytest.approx(-sum(right) / tokens, rel=1e-4)
    assert evaluation.tokens == tokens
    assert evaluation == model.evaluate(plain)
    assert np.array_equal(model.token_losses(data), model.token_losses(plain))
    assert np.array_equal(
        model.score(data, "cosine")["cosine"], model.score(plain, "cosine")["cosine"]
    )


def test_choices_in_parts_add_up_to_the_whole(model: pc.Model, questions: pc.ChoiceSet) -> None:
    data = pc.Data.from_choices(questions, model, "sum")
    whole = model.evaluate_choices(data)
    parts = [data[:5], data[5:]]
    assert [len(part) for part in parts] == [5, 7]
    found = [model.evaluate_choices(part) for part in parts]
    np.testing.assert_allclose(
        np.concatenate([sums for each in found for sums in each.log_likelihoods]),
        np.concatenate(whole.log_likelihoods),
        atol=2e-5,
    )
    joined = pc.Data.concatenate(parts)
    assert isinstance(joined, pc.ChoiceData) and joined.digest == data.digest
    assert joined.subjects == data.subjects
    assert data[:5].digest != data[5:].digest
    with pytest.raises(pc.ArgumentError, match="different ways"):
        pc.Data.concatenate([data, pc.Data.from_choices(questions, model)])
    mixed = pc.Data.concatenate([data, pc.Data([[1, 2, 3]])])
    assert not isinstance(mixed, pc.ChoiceData) and mixed.n_sequences == data.n_sequences + 1


def test_digest_tells_questions_apart() -> None:
    def digest(*arguments: object) -> str:
        return pc.ChoiceData(*arguments).digest  # type: ignore[arg-type]

    base = ([[1, 2]], [[[3], [4]]], [0])
    assert digest(*base) == digest(*base)
    others = [
        ([[1, 2]], [[[3], [4]]], [1]),
        ([[1, 2]], [[[3], [5]]], [0]),  # a wrong candidate that is in no sequence
        ([[1]], [[[2, 3], [4]]], [0]),
        ([[1, 2]], [[[3], [4]]], [0], "mean"),
    ]
    assert len({digest(*base), *(digest(*other) for other in others)}) == 5


def test_mask_of_the_model_and_progress(model: pc.Model, questions: pc.ChoiceSet) -> None:
    data = pc.Data.from_choices(questions, model)
    mask = pc.Mask.remove(["attn.3", "block.7"], 12)
    stages: list[str] = []
    with model.masked(mask):
        found = model.evaluate_choices(
            data, batch_tokens=64, progress=lambda stage, *_: stages.append(stage)
        )
    np.testing.assert_allclose(
        np.concatenate(found.log_likelihoods),
        np.concatenate(model.evaluate_choices(data, mask).log_likelihoods),
        atol=2e-5,
    )
    assert stages
    with pytest.raises(pc.Cancelled):
        model.evaluate_choices(data, progress=lambda *_: True)


def test_evaluate_choices_refuses_wrong_data(model: pc.Model, questions: pc.ChoiceSet) -> None:
    with pytest.raises(pc.ArgumentError, match=r"make it with Data\.from_choices"):
        model.evaluate_choices(pc.Data([[1, 2, 3]]))
    with pytest.raises(pc.DataError, match="vocabulary"):
        model.evaluate_choices(pc.ChoiceData([[1]], [[[2], [99999]]], [0]))
    with pytest.raises(pc.ArgumentError, match="sublayers"):
        model.evaluate_choices(pc.Data.from_choices(questions, model), np.ones(4))
    with pytest.raises(pc.ArgumentError, match="question 0: the answer is 2"):
        pc.ChoiceData([[1]], [[[2], [3]]], [2])
    with pytest.raises(pc.DataError, match="question 1 needs at least 2 candidates, not 1"):
        pc.ChoiceData([[1], [1]], [[[2], [3]], [[2]]], [0, 0])
    with pytest.raises(pc.DataError, match="question 0, candidate 1 has no tokens"):
        pc.ChoiceData([[1]], [[[2], []]], [0])
    with pytest.raises(pc.DataError, match="question 0 has no tokens"):
        pc.ChoiceData([[]], [[[2], [3]]], [0])
    with pytest.raises(pc.DataError, match="question 0, candidate 0 holds the negative token"):
        pc.ChoiceData([[1]], [[[-2], [3]]], [0])
    with pytest.raises(pc.ArgumentError, match="1 contexts, but 2 answers"):
        pc.ChoiceData([[1]], [[[2], [3]]], [0, 1])
    with pytest.raises(pc.ArgumentError, match="score is 'best'"):
        pc.ChoiceData([[1]], [[[2], [3]]], [0], "best")  # type: ignore[arg-type]
    with pytest.raises(pc.DataError, match="no multiple-choice questions"):
        pc.ChoiceData([], [], [])
