# SPDX-License-Identifier: Apache-2.0
"""Scores against NumPy on hidden states, and against evaluations without each unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import prunecore as pc
import pytest

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def data(model: pc.Model, tales_dir: Path) -> pc.Data:
    text = pc.Data.from_text(tales_dir / "plays.jsonl", model, sequence_length=48, limit=3)
    return pc.Data([row[: 48 - 7 * i] for i, row in enumerate(text.sequences)])


@pytest.fixture(scope="module")
def states(model: pc.Model, data: pc.Data) -> list[Array]:
    return [model.hidden_states(data, u).astype(np.float64) for u in range(25)]


def sublayers_of(granularity: str, unit: int) -> tuple[int, int]:
    """First sublayer of a unit, and the one after its last."""
    return {
        "sublayer": (unit, unit + 1),
        "block": (2 * unit, 2 * unit + 2),
        "attention": (2 * unit, 2 * unit + 1),
        "feed_forward": (2 * unit + 1, 2 * unit + 2),
    }[granularity]


def reference(metric: str, before: Array, after: Array, relative_to: str) -> Array:
    """One value per token, by the formulas of the header."""
    update = after - before
    against = before if relative_to == "input" else after
    cosine = np.sum(before * after, 1) / (
        np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    )
    return {
        "cosine": 1 - cosine,
        "angular": np.arccos(np.clip(cosine, -1, 1)) / np.pi,
        "l1": np.abs(update).sum(1),
        "l2": np.linalg.norm(update, axis=1),
        "relative_l1": np.abs(update).sum(1) / np.abs(against).sum(1),
        "relative_l2": np.linalg.norm(update, axis=1) / np.linalg.norm(against, axis=1),
    }[metric]


@pytest.mark.parametrize("granularity", pc.GRANULARITIES)
@pytest.mark.parametrize("relative_to", ["input", "output"])
@pytest.mark.parametrize("tokens", ["all", "last"])
def test_static_metrics_are_those_of_numpy_on_our_own_states(
    model: pc.Model,
    data: pc.Data,
    states: list[Array],
    granularity: str,
    relative_to: str,
    tokens: str,
) -> None:
    metrics = tuple(name for name in pc.STATIC_METRICS if name != "magnitude")
    scores = model.score(data, metrics, granularity, relative_to=relative_to, tokens=tokens)
    assert scores.metrics == metrics
    last = np.cumsum([len(row) for row in data.sequences]) - 1
    rows = slice(None) if tokens == "all" else last
    for metric in metrics:
        wanted = []
        for unit in range(len(scores.unit_names)):
            start, end = sublayers_of(granularity, unit)
            values = reference(metric, states[start], states[end], relative_to)
            wanted.append(values[rows].mean())
        np.testing.assert_allclose(scores[metric], wanted, rtol=2e-5, atol=2e-7, err_msg=metric)


@pytest.mark.parametrize("granularity", pc.GRANULARITIES)
def test_leave_one_out_is_the_difference_of_two_evaluations(
    model: pc.Model, data: pc.Data, granularity: str
) -> None:
    scores = model.score(data, "leave_one_out_loss", granularity)
    masks = []
    for unit in range(len(scores.unit_names)):
        keep = np.ones(24, dtype=np.uint8)
        start, end = sublayers_of(granularity, unit)
        keep[start:end] = 0
        masks.append(keep)
    full = model.evaluate(data).loss
    wanted = [found.loss - full for found in model.evaluate_masks(data, masks)]
    np.testing.assert_allclose(scores["leave_one_out_loss"], wanted, rtol=0, atol=2e-6)
    assert scores["leave_one_out_loss"].max() > 0.1


def test_logit_distance_is_that_of_the_logits(model: pc.Model, data: pc.Data) -> None:
    scores = model.score(data, "leave_one_out_logit_l2", "attention")
    full = model.logits(data).astype(np.float64)
    ends = np.cumsum([len(row) for row in data.sequences]) - 1
    predicts = np.setdiff1d(np.arange(data.n_tokens), ends)
    for block in (0, 5, 11):
        without = model.logits(data, pc.Mask.remove(f"attn.{block}", 12))
        wanted = np.linalg.norm(full - without, axis=1)[predicts].mean()
        assert scores["leave_one_out_logit_l2"][block] == pytest.approx(wanted, rel=1e-5)


def test_score_of_magnitude_needs_no_data(model: pc.Model, data: pc.Data, tales_dir: Path) -> None:
    from safetensors.torch import load_file

    scores = model.score(metrics="magnitude", granularity="feed_forward")
    weights = load_file(tales_dir / "model.safetensors")
    names = [f"model.layers.4.mlp.{part}_proj.weight" for part in ("gate", "up", "down")]
    wanted = sum(float(weights[name].double().abs().sum()) for name in names)
    assert scores["magnitude"][4] == pytest.approx(wanted, rel=1e-6)
    assert np.array_equal(
        scores["magnitude"], model.score(data, "all", "feed_forward")["magnitude"]
    )
    with pytest.raises(pc.ArgumentError):
        model.score(metrics="cosine")


def test_score_computes_the_metrics_asked_for(model: pc.Model, data: pc.Data) -> None:
    everything = model.score(data, "all", "block")
    assert everything.metrics == pc.METRICS
    assert model.score(data, granularity="block").metrics == pc.STATIC_METRICS
    some = model.score(data, ["relative-l2", "cosine", "cosine"], "block")
    assert some.metrics == ("cosine", "relative_l2")
    assert np.array_equal(some["cosine"], everything["cosine"])
    assert model.score(data, "cosine, l1", "block").metrics == ("cosine", "l1")
    for wrong in ("cosin", [], "", ["cosine", ""]):
        with pytest.raises(pc.ArgumentError, match="metric"):
            model.score(data, wrong)
    for option in ({"granularity": "head"}, {"relative_to": "both"}, {"tokens": "first"}):
        with pytest.raises(pc.ArgumentError, match=next(iter(option.values()))):
            model.score(data, "cosine", **option)
    with pytest.raises(pc.ArgumentError, match="batch_tokens"):
        model.score(data, batch_tokens=0)


def test_every_metric_of_the_header_has_a_name() -> None:
    from prunecore._native.library import lib
    from prunecore._native.names.metric_facts import METRIC_FACTS

    prefix = "PRUNE_METRIC_"
    header = {name: getattr(lib, name) for name in dir(lib) if name.startswith(prefix)}
    single = {name: bit for name, bit in header.items() if not name.startswith(f"{prefix}ALL")}
    named = {f"{prefix}{name.upper()}": METRIC_FACTS[name].bit for name in pc.METRICS}
    assert named == single
    assert list(named.values()) == sorted(named.values())
    sets = {name: bit for name, bit in header.items() if name not in single}
    assert all(bit > max(single.values()) for bit in sets.values())


def test_scores_under_a_mask(model: pc.Model, data: pc.Data) -> None:
    mask = pc.Mask.remove(["attn.3", "block.6"], 12)
    scores = model.score(data, "cosine,leave_one_out_loss", mask=mask)
    with model.masked(mask):
        again = model.score(data, "cosine,leave_one_out_loss")
    for metric in scores.metrics:
        assert np.array_equal(scores[metric], again[metric])
        removed = [scores[metric][index] for index in (6, 12, 13)]
        assert removed == [0, 0, 0]
    assert scores.mask == again.mask == mask
    assert not {"attn.3", "attn.6", "ffn.6"} & set(scores.order("cosine"))
    free = model.score(data, "cosine")
    assert np.array_equal(free["cosine"][:6], scores["cosine"][:6])
    assert not np.array_equal(free["cosine"][7:], scores["cosine"][7:])


def test_provenance_says_what_was_measured(model: pc.Model, data: pc.Data) -> None:
    found = model.score(data, "cosine", relative_to="output", tokens="last").provenance
    assert found["data_sha256"] == data.digest
    assert found["model"] == model.provenance and found["library"] == f"prunecore {pc.__version__}"
    assert (found["n_sequences"], found["n_tokens"]) == (3, data.n_tokens)
    assert (found["relative_to"], found["tokens"]) == ("output", "last")


def test_ids_outside_the_vocabulary_are_refused(model: pc.Model) -> None:
    for call in (model.score, model.evaluate, model.logits):
        with pytest.raises(pc.DataError, match="2048"):
            call(pc.Data([[1, 2048]]))
