# SPDX-License-Identifier: Apache-2.0
"""Tasks compared on the embedded model: every number against the calls that it stands for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from prunecore.studies.task_orders import spearman

TEXTS = ("stories", "maths", "plays")


@pytest.fixture(scope="module")
def texts(model: pc.Model, tales_dir: Path) -> dict[str, pc.Data]:
    return {
        text: pc.Data.from_text(tales_dir / f"{text}.jsonl", model, 64, limit=7) for text in TEXTS
    }


@pytest.fixture(scope="module")
def found(model: pc.Model, texts: dict[str, pc.Data]) -> pc.TaskComparison:
    return pc.compare_tasks(model, texts, "attention", remove=5, steps=4)


def test_parts_are_the_first_and_the_last_sequences(
    found: pc.TaskComparison, texts: dict[str, pc.Data]
) -> None:
    for text, data in texts.items():  # of seven sequences the one in the middle is in neither part
        assert found.provenance["calibration"][text]["data_sha256"] == data[:3].digest
        assert found.provenance["held_out"][text]["data_sha256"] == data[4:].digest


def test_importance_is_that_of_the_calibration_part(
    found: pc.TaskComparison, model: pc.Model, texts: dict[str, pc.Data]
) -> None:
    for row, data in zip(found.importance, texts.values(), strict=True):
        scores = model.score(data[:3], "leave_one_out_loss", "attention")
        np.testing.assert_allclose(row, scores["leave_one_out_loss"], atol=1e-6)
    assert np.array_equal(found.spearman, found.spearman.T)
    assert np.array_equal(np.diag(found.spearman), np.ones(3))
    assert found.spearman[0, 2] == pytest.approx(spearman(found.importance[0], found.importance[2]))


def test_damage_is_that_of_each_order_on_each_text(
    found: pc.TaskComparison, model: pc.Model, texts: dict[str, pc.Data]
) -> None:
    assert found.losses.shape == found.damage.shape == (6, 3, 3)
    assert np.array_equal(found.damage[0], np.zeros((3, 3)))
    for b, data in enumerate(texts.values()):
        before = model.evaluate(data[4:]).loss
        for a in range(3):
            after = model.evaluate(data[4:], found.scores[a].prune(4)).loss
            assert found.losses[4, a, b] == pytest.approx(after, abs=5e-6)
            assert found.damage[4, a, b] == pytest.approx((after - before) / before, abs=5e-6)
    assert np.all(found.damage[5] > 0)


def test_all_weight_on_one_task_is_its_own_order(found: pc.TaskComparison) -> None:
    for task, weights in enumerate(np.eye(3)):
        (row,) = np.flatnonzero((found.weights == weights).all(axis=1))
        np.testing.assert_array_equal(found.combined_losses[:, row], found.losses[:, task])
        assert [masks[row] for masks in found.combined_masks] == [
            found.scores[task].prune(count) for count in range(6)
        ]


@pytest.mark.parametrize("combine", ["rank", "importance"])
def test_combined_orders_are_those_of_the_weighted_sums(
    model: pc.Model, texts: dict[str, pc.Data], combine: str
) -> None:
    made = pc.compare_tasks(
        model,
        texts,
        "block",
        "cosine",
        remove=3,
        steps=3,
        combine=combine,  # type: ignore[arg-type]
    )
    rows = made.importance
    if combine == "rank":
        rows = np.argsort(np.argsort(rows, axis=1), axis=1) / 11
    else:
        rows = rows / np.abs(rows).mean(axis=1, keepdims=True)
    for index, weights in enumerate(made.weights):
        lowest = np.argsort(weights @ rows, kind="stable")[:3]
        assert made.combined_masks[3][index] == pc.Mask.remove([f"block.{i}" for i in lowest], 12)
    assert len(made.weights) == 10
    assert all(mask.removed == [] for mask in made.combined_masks[0])


def test_front_of_tasks_is_not_dominated(found: pc.TaskComparison) -> None:
    sizes = set()
    for count in range(6):
        points, front = found.compromises(count), found.front(count)
        assert front
        assert len({point.mask for point in points}) == len(points)
        assert sum(len(point.weights) for point in points) == len(found.weights) == 15
        for point in points:
            assert len(point.mask.removed) == count
            beaten = any(
                all(np.less_equal(other.losses, point.losses)) and other.losses != point.losses
                for other in points
            )
            assert point.on_front is not beaten
        assert [point.losses for point in front] == [p.losses for p in points if p.on_front]
        sizes.add((len(points), len(front)))
    assert any(points > front for points, front in sizes)
    assert [point.losses for point in found.compromises(5)] == sorted(
        point.losses for point in found.compromises(5)
    )


def test_comparison_of_tasks_is_saved_as_json(found: pc.TaskComparison, tmp_path: Path) -> None:
    found.save(tmp_path / "tasks.json")
    record = json.loads((tmp_path / "tasks.json").read_text())
    assert record == json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (record["format"], record["version"]) == ("prunecore.tasks", 1)
    assert record["tasks"] == list(TEXTS) and record["units"][3] == "attn.3"
    assert record["damage"][0] == [[0.0] * 3] * 3
    assert record["order"]["maths"] == found.scores[1].order()
    assert len(record["compromises"]) == 6 and record["n_removed"] == list(range(6))
    front = [each for each in record["compromises"][5] if each["on_front"]]
    assert [each["losses"] for each in front] == [list(each.losses) for each in found.front(5)]
    assert record["provenance"]["model"]["name"] == "tales-12l"


def test_a_task_that_holds_all_units_for_equal(model: pc.Model, texts: dict[str, pc.Data]) -> None:
    pair = {text: texts[text] for text in ("stories", "maths")}
    same = pc.compare_tasks(model, pair, "block", "magnitude", remove=2)
    assert same.spearman.tolist() == [[1, 1], [1, 1]]
    assert len(same.compromises(2)) == 1
    constant = pc.Scores({"a": [1.0] * 12}, "block", 12)
    flat = dataclasses.replace(same, metric="a", scores=(constant, constant))
    assert flat.to_dict()["spearman"] == [[1.0, None], [None, 1.0]]


def test_mask_of_the_model_is_the_starting_point(
    model: pc.Model, texts: dict[str, pc.Data]
) -> None:
    start = pc.Mask.remove(["attn.2", "ffn.5"], 12)
    pair = {text: texts[text] for text in ("stories", "maths")}
    with model.masked(start):
        made = pc.compare_tasks(model, pair, "sublayer", "cosine", remove=2, steps=2)
        with pytest.raises(pc.ArgumentError, match=r"its mask removes attn\.2, ffn\.5"):
            pc.compare_tasks(model, pair, metric="shapley", remove=1)
    assert made.losses[0, 0, 0] == pytest.approx(model.evaluate(texts["stories"][4:], start).loss)
    for mask in made.combined_masks[2]:
        assert {"attn.2", "ffn.5"} < set(mask.removed) and len(mask.removed) == 4
    kept = [i for i in range(24) if i not in (4, 11)]
    assert made.spearman[0, 1] == pytest.approx(
        spearman(made.importance[0][kept], made.importance[1][kept])
    )


def test_shapley_values_as_importance(model: pc.Model, texts: dict[str, pc.Data]) -> None:
    pair = {text: texts[text][:2] for text in ("stories", "maths")}
    made = pc.compare_tasks(model, pair, "block", "shapley", remove=2, seed=3, budget=40)
    for row, data in zip(made.importance, pair.values(), strict=True):
        game = model.shapley(data[:1], granularity="block", seed=3, budget=40)
        np.testing.assert_allclose(row, game.values, rtol=1e-4, atol=1e-5)
    assert made.provenance["seed"] == 3


def test_pairs_of_data_and_questions_are_tasks(model: pc.Model, texts: dict[str, pc.Data]) -> None:
    items = [pc.ChoiceItem(f"Is it number {i}?", ("yes", "no", "so"), i % 3) for i in range(6)]
    questions = pc.Data.from_choices(items, model, "sum")
    tasks = {"text": (texts["plays"][:2], texts["plays"][5:]), "questions": questions}
    made = pc.compare_tasks(model, tasks, "block", "cosine", remove=1, steps=1)
    assert made.losses[0, 0, 0] == pytest.approx(model.evaluate(texts["plays"][5:]).loss)
    assert made.losses[0, 0, 1] == pytest.approx(model.evaluate(questions[3:]).loss)
    assert made.provenance["held_out"]["questions"]["n_sequences"] == 3


def test_comparison_of_tasks_refuses_wrong_options(
    model: pc.Model, texts: dict[str, pc.Data], found: pc.TaskComparison
) -> None:
    with pytest.raises(pc.ArgumentError, match="at least 2 tasks are needed"):
        pc.compare_tasks(model, {"stories": texts["stories"]})
    pair = {text: texts[text] for text in ("maths", "plays")}
    words = "task maths has too few sequences: 7, for 4 to calibrate on and 4 held out"
    with pytest.raises(pc.ArgumentError, match=words):
        pc.compare_tasks(model, pair, calibration=4, held_out=4)
    with pytest.raises(pc.ArgumentError, match="0 sequences to calibrate on"):
        pc.compare_tasks(model, pair, calibration=0)
    with pytest.raises(pc.ArgumentError, match="task a has too few sequences: 1, for 1"):
        pc.compare_tasks(model, {"a": texts["maths"][:1], "b": texts["plays"]})
    with pytest.raises(pc.ArgumentError, match="one metric, but 'static' is 7"):
        pc.compare_tasks(model, texts, metric="static")
    with pytest.raises(pc.ArgumentError, match="unknown metric 'best'"):
        pc.compare_tasks(model, texts, metric="best")
    with pytest.raises(pc.ArgumentError, match="remove is 13, but must be from 0 to 12"):
        pc.compare_tasks(model, texts, "block", "cosine", remove=13)
    with pytest.raises(pc.ArgumentError, match="combine is 'sum'"):
        pc.compare_tasks(model, texts, combine="sum")  # type: ignore[arg-type]
    with pytest.raises(pc.ArgumentError, match="task a is neither data nor a pair"):
        pc.compare_tasks(model, {"a": (texts["maths"],), "b": texts["plays"]})  # type: ignore[dict-item]
    with pytest.raises(pc.ArgumentError, match="n_removed is 6"):
        found.front(6)
    with pytest.raises(pc.Cancelled):
        pc.compare_tasks(model, texts, progress=lambda *_: True)
