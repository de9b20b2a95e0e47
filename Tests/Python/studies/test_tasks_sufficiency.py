# SPDX-License-Identifier: Apache-2.0
"""Information sufficiency between tasks on the embedded model, and on a model without states."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from numpy_decoder import Decoder
from numpy_host import NumpyHost
from prunecore.studies.gaussian_information import estimate_sufficiency

TEXTS = ("stories", "maths")


@pytest.fixture(scope="module")
def texts(model: pc.Model, tales_dir: Path) -> dict[str, pc.Data]:
    found = {}
    for text in TEXTS:
        data = pc.Data.from_text(tales_dir / f"{text}.jsonl", model, 40, limit=8)
        found[text] = pc.Data([row[: 40 - 3 * i] for i, row in enumerate(data.sequences)])
    return found


@pytest.fixture(scope="module")
def found(model: pc.Model, texts: dict[str, pc.Data]) -> pc.TaskComparison:
    return pc.compare_tasks(
        model, texts, "attention", "cosine", remove=4, steps=1, adapters=None, directions=6
    )


def reference(states: list[np.ndarray], inputs: list[list[int]]) -> pc.TaskComparison:
    """Shares and errors from the states of all tokens: one table per task."""
    lengths = [len(row) for task in inputs for row in task]
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    used = np.setdiff1d(np.arange(sum(lengths)), first)
    groups = np.repeat(np.arange(len(lengths)), lengths)[used]
    counts = [sum(len(row) - 1 for row in task) for task in inputs]
    weights = np.repeat(1 / np.array(counts), counts)
    tables = []
    for table in states:
        rows = table[used].astype(np.float64)
        rows /= np.sqrt((rows**2).mean(axis=1, keepdims=True))
        rows -= np.average(rows, axis=0, weights=weights)
        # Principal directions of weighted rows, by another road than the covariance.
        _, _, directions = np.linalg.svd(rows * np.sqrt(weights)[:, None], full_matrices=False)
        tables.append(rows @ directions[:6].T)
    return estimate_sufficiency(tables, groups, weights)


def test_sufficiency_is_that_of_the_last_states_of_each_tasks_model(
    found: pc.TaskComparison, model: pc.Model, texts: dict[str, pc.Data]
) -> None:
    held_out = [list(data[4:].sequences) for data in texts.values()]
    inputs = pc.Data([row for task in held_out for row in task])
    masks = [scores.prune(4) for scores in found.scores]
    assert masks[0] != masks[1]
    states = [model.hidden_states(inputs, 24, mask) for mask in masks]
    wanted = reference(states, held_out)
    np.testing.assert_allclose(found.sufficiency, wanted.shares, rtol=1e-6)
    np.testing.assert_allclose(found.sufficiency_errors, wanted.errors, rtol=1e-4, atol=1e-9)
    information = found.information
    assert information is not None
    np.testing.assert_allclose(np.diag(information.estimate.shares), 1, atol=1e-9)
    assert 0 < information.estimate.shares[0, 1] < 1
    assert information.estimate.shares[0, 1] != information.estimate.shares[1, 0]
    assert (information.n_removed, information.directions, information.adapters) == (4, 6, None)
    assert information.n_sequences == 8 and information.n_samples == inputs.n_tokens - 8
    assert all(0.2 < share <= 1 for share in information.explained)


def test_adapters_stand_in_the_place_of_what_is_removed(
    model: pc.Model, texts: dict[str, pc.Data]
) -> None:
    made = pc.compare_tasks(
        model, texts, "attention", "cosine", remove=4, steps=1, adapters="bias", directions=6
    )
    held_out = [list(data[4:].sequences) for data in texts.values()]
    inputs = pc.Data([row for task in held_out for row in task])
    states = []
    for scores, data in zip(made.scores, texts.values(), strict=True):
        mask, text = scores.prune(4), data[:4]
        with model.recover(mask, text, "bias", held_out=text).attach(model) as recovered:
            states.append(recovered.hidden_states(inputs, 24))
    wanted = reference(states, held_out)
    np.testing.assert_allclose(made.sufficiency, wanted.shares, rtol=1e-5)
    assert made.information is not None and made.information.adapters == "bias"


def test_models_that_lack_the_same_determine_each_other(
    model: pc.Model, texts: dict[str, pc.Data]
) -> None:
    for options in ({"metric": "magnitude", "adapters": None}, {"metric": "cosine", "remove": 0}):
        made = pc.compare_tasks(model, texts, "block", **{"remove": 3, **options})
        np.testing.assert_allclose(made.sufficiency, 1, atol=1e-9)
        np.testing.assert_allclose(made.sufficiency_errors, 0, atol=1e-9)


def test_sufficiency_is_saved_as_json(found: pc.TaskComparison) -> None:
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))["sufficiency"]
    assert found.sufficiency is not None and found.sufficiency_errors is not None
    assert record["matrix"] == found.sufficiency.tolist()
    assert record["errors"] == found.sufficiency_errors.tolist()
    assert record["gaps"][0][1] == -record["gaps"][1][0]
    assert record["gaps"][0][1] == pytest.approx(record["matrix"][0][1] - record["matrix"][1][0])
    assert record["floor"] == 0.01 and record["n_removed"] == 4


def test_small_parts_have_fewer_directions_and_no_errors(
    model: pc.Model, texts: dict[str, pc.Data]
) -> None:
    pair = {text: data[:2] for text, data in texts.items()}
    made = pc.compare_tasks(model, pair, "block", "cosine", remove=2)
    # One held-out sequence of each: either is predicted from the other's samples alone.
    assert made.information is not None and made.information.n_sequences == 2
    assert made.information.directions == made.information.n_samples // 2 // 10 == 3
    assert np.isnan(made.information.estimate.errors).all()
    assert made.to_dict()["sufficiency"]["errors"] == [[None, None], [None, None]]


def test_questions_are_inputs_with_their_right_answers(
    model: pc.Model, texts: dict[str, pc.Data]
) -> None:
    items = [pc.ChoiceItem(f"Is it number {i}?", ("yes", "no", "so"), i % 3) for i in range(6)]
    questions = pc.Data.from_choices(items, model, "sum")
    made = pc.compare_tasks(
        model, {"text": texts["maths"], "questions": questions}, "block", "cosine", remove=1
    )
    right = [
        len(questions.contexts[i]) + len(questions.candidates[i][questions.answers[i]]) - 1
        for i in (3, 4, 5)
    ]
    text = sum(len(row) - 1 for row in texts["maths"][4:].sequences)
    assert made.information is not None
    assert made.information.n_samples == text + sum(right)


class WithoutStates(NumpyHost):
    """A host that keeps its states to itself."""

    read = None  # type: ignore[assignment]


def test_models_that_do_not_give_their_states_are_compared_without() -> None:
    decoder = Decoder()
    ids = np.random.default_rng(1).integers(0, decoder.sizes.vocabulary, (8, 12)).astype(np.int32)
    tasks = {"a": pc.Data(list(ids[:4])), "b": pc.Data(list(ids[4:]))}
    with pc.from_host(WithoutStates(decoder)) as host:
        made = pc.compare_tasks(host, tasks, "block", remove=1)
        assert made.information is made.sufficiency is made.sufficiency_errors is None
        assert made.to_dict()["sufficiency"] is None
        with pytest.raises(pc.ArgumentError, match="the sufficiency was not measured"):
            made.plot(kind="sufficiency")
        with pytest.raises(pc.UnsupportedError):
            pc.compare_tasks(host, tasks, "block", remove=1, sufficiency=True)


def test_sufficiency_can_be_left_out_and_refuses_wrong_options(
    model: pc.Model, texts: dict[str, pc.Data]
) -> None:
    made = pc.compare_tasks(model, texts, "block", "magnitude", remove=1, sufficiency=False)
    assert made.information is None
    with pytest.raises(pc.ArgumentError, match="adapters is 'lora', but must be"):
        pc.compare_tasks(model, texts, adapters="lora")  # type: ignore[arg-type]
    with pytest.raises(pc.ArgumentError, match="directions is 0"):
        pc.compare_tasks(model, texts, directions=0)
