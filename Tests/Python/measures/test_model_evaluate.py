# SPDX-License-Identifier: Apache-2.0
"""Evaluations against logits and token losses; pruning curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import prunecore as pc
import pytest


@pytest.fixture(scope="module")
def data(model: pc.Model, tales_dir: Path) -> pc.Data:
    text = pc.Data.from_text(tales_dir / "stories.jsonl", model, sequence_length=40, limit=4)
    return pc.Data([row[: 40 - 9 * i] for i, row in enumerate(text.sequences)])


def losses_from_logits(model: pc.Model, data: pc.Data, mask: pc.Mask | None) -> np.ndarray:
    logits = model.logits(data, mask).astype(np.float64)
    top = logits.max(axis=1)
    normaliser = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    ids = np.concatenate(data.sequences)
    losses = np.zeros(data.n_tokens)
    losses[1:] = (normaliser - logits[np.arange(data.n_tokens), np.roll(ids, -1)])[:-1]
    starts = np.cumsum([0] + [len(row) for row in data.sequences[:-1]])
    losses[starts] = 0
    return losses


@pytest.mark.parametrize("removed", [[], ["attn.2", "block.7"], [f"block.{i}" for i in range(12)]])
def test_losses_are_those_of_the_logits(model: pc.Model, data: pc.Data, removed: list[str]) -> None:
    mask = pc.Mask.remove(removed, 12)
    wanted = losses_from_logits(model, data, mask)
    found = model.token_losses(data, mask)
    assert found.dtype == np.float32 and found.shape == (data.n_tokens,)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)
    lengths = [len(row) for row in data.sequences]
    parts = np.split(wanted, np.cumsum(lengths)[:-1])
    evaluation = model.evaluate(data, mask)
    loss = wanted.sum() / (data.n_tokens - 4)
    assert evaluation.loss == pytest.approx(loss, rel=1e-5)
    assert evaluation.perplexity == pytest.approx(np.exp(evaluation.loss), rel=1e-12)
    assert evaluation.sequence_perplexity == pytest.approx(
        np.mean([np.exp(part[1:].mean()) for part in parts]), rel=1e-4
    )
    assert (evaluation.tokens, evaluation.sequences) == (data.n_tokens - 4, 4)
    assert evaluation.weight == data.n_tokens - 4


def test_token_weights_count_in_evaluations(model: pc.Model, data: pc.Data) -> None:
    weights = np.random.default_rng(0).random(data.n_tokens).astype(np.float32)
    weights[:40] = 0  # all of the first sequence
    weighted = pc.Data(data.sequences, token_weights=weights)
    losses = model.token_losses(data).astype(np.float64)
    starts = np.cumsum([0] + [len(row) for row in data.sequences[:-1]])
    counted = weights.astype(np.float64)
    counted[starts] = 0
    found = model.evaluate(weighted)
    assert found.loss == pytest.approx((losses * counted).sum() / counted.sum(), rel=1e-5)
    assert found.weight == pytest.approx(counted.sum(), rel=1e-6)
    assert (found.tokens, found.sequences) == (int((counted > 0).sum()), 3)
    assert np.array_equal(model.token_losses(weighted), model.token_losses(data))
    with pytest.raises(pc.DataError):
        model.evaluate(pc.Data(data.sequences, token_weights=np.zeros(data.n_tokens)))


def test_many_masks_give_what_each_gives(model: pc.Model, data: pc.Data) -> None:
    rng = np.random.default_rng(1)
    masks: list[object] = [pc.Mask.all(12), *(rng.random((5, 24)) < 0.8)]
    together = model.evaluate_masks(data, masks)
    assert len(together) == 6
    for mask, found in zip(masks, together, strict=True):
        assert model.evaluate(data, mask).loss == pytest.approx(found.loss, abs=2e-6)
    assert model.evaluate_masks(data, []) == []
    assert len({found.loss for found in together}) == 6
    for wrong in ([None], [[1, 1]], [pc.Mask.all(11)]):
        with pytest.raises(pc.ArgumentError):
            model.evaluate_masks(data, wrong)


def test_mask_of_the_model_is_the_default(model: pc.Model, data: pc.Data) -> None:
    mask = pc.Mask.remove(["ffn.1", "attn.8"], 12)
    with model.masked(mask):
        assert model.evaluate(data) == model.evaluate(data, mask)
        assert np.array_equal(model.token_losses(data), model.token_losses(data, mask))
        assert model.evaluate(data, pc.Mask.all(12)).loss != model.evaluate(data).loss


def test_hidden_states_follow_the_mask(model: pc.Model, data: pc.Data) -> None:
    mask = pc.Mask.remove("ffn.3", 12)
    assert model.hidden_states(data, 0).shape == (data.n_tokens, 128)
    assert np.array_equal(model.hidden_states(data, 7, mask), model.hidden_states(data, 8, mask))
    assert not np.array_equal(model.hidden_states(data, 7), model.hidden_states(data, 8))
    for wrong in (-1, 25, 2**70):
        with pytest.raises(pc.ArgumentError, match="from 0 to 24"):
            model.hidden_states(data, wrong)


def test_one_token_predicts_nothing(model: pc.Model) -> None:
    data = pc.Data([[5]])
    assert model.token_losses(data).tolist() == [0.0]
    assert np.isfinite(model.score(data, "cosine")["cosine"]).all()
    with pytest.raises(pc.DataError):
        model.evaluate(data)


def test_curve_is_the_evaluations_of_its_masks(model: pc.Model, data: pc.Data) -> None:
    scores = model.score(data, ["cosine", "l2"])
    curve = model.curve(data, scores, "l2", max_removed=5)
    assert curve.n_removed == (0, 1, 2, 3, 4, 5)
    assert (curve.metric, curve.granularity) == ("l2", "sublayer")
    for n, mask, evaluation, cost in zip(
        curve.n_removed, curve.masks, curve.evaluations, curve.cost, strict=True
    ):
        assert set(mask.removed) == set(scores.order("l2")[:n])
        assert evaluation.loss == pytest.approx(model.evaluate(data, mask).loss, abs=2e-6)
        assert cost == model.cost(mask)
    assert curve.losses.tolist() == [found.loss for found in curve.evaluations]
    record = curve.to_dict()
    assert record["points"][3]["loss"] == curve.evaluations[3].loss
    assert record["points"][3]["removed"] == curve.masks[3].removed
    assert record["provenance"]["data_sha256"] == data.digest


def test_curve_can_take_one_kind_and_all_of_it(model: pc.Model, data: pc.Data) -> None:
    scores = model.score(data, "cosine")
    curve = model.curve(data, scores, only="feed_forward")
    assert curve.granularity == "feed_forward" and curve.n_removed[-1] == 12
    assert curve.masks[-1].removed == [f"ffn.{block}" for block in range(12)]
    for wrong in (-1, 25):
        with pytest.raises(pc.ArgumentError, match="max_removed"):
            model.curve(data, scores, max_removed=wrong)
    other = pc.Scores({"a": [1.0, 2.0]}, "block", 2)
    with pytest.raises(pc.ArgumentError, match="2 blocks.*12"):
        model.curve(data, other)


def test_scores_under_a_mask_give_a_curve_from_there(model: pc.Model, data: pc.Data) -> None:
    mask = pc.Mask.remove(["attn.3", "ffn.3"], 12)
    scores = model.score(data, "cosine", mask=mask)
    curve = model.curve(data, scores)
    assert curve.n_removed[-1] == 22
    assert curve.masks[0] == mask and len(curve.masks[-1].kept) == 0
