# SPDX-License-Identifier: Apache-2.0
"""Games of models: against shapiq and plain evaluations, and what they cost."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
import shapiq
from games import TableGame, all_masks, pairs, play

SIX = [["block.0", "block.1"], ["attn.2", "ffn.3"], ["ffn.2"], ["block.5", 9], [22], ["ffn.11"]]


@pytest.fixture(scope="module")
def data(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "maths.jsonl", model, 24, limit=3)


def keep_masks(coalitions: np.ndarray, groups: list[list[Any]]) -> np.ndarray:
    """The sublayers that coalitions of groups keep."""
    keep = np.ones((len(coalitions), 24), dtype=np.uint8)
    for player, group in enumerate(groups):
        lacking = pc.Mask.remove([n for n in group if isinstance(n, str)], 12).keep == 0
        lacking[[n for n in group if not isinstance(n, str)]] = True
        keep[np.ix_(~coalitions[:, player], lacking)] = 0
    return keep


def test_exact_game_is_that_of_shapiq(model: pc.Model, data: pc.Data) -> None:
    found = model.shapley(data, players=SIX, estimator="exact")
    masks = keep_masks(all_masks(6), SIX)
    losses = model.damages(data, masks).values
    capped = np.minimum(losses, math.log(model.shape.vocabulary_size))
    assert (losses > capped).any()  # the cap matters here
    table = TableGame(-capped)
    oracle = shapiq.ExactComputer(game=table, n_players=6)
    shapley, banzhaf = oracle(index="SV", order=1), oracle(index="BV", order=1)
    np.testing.assert_allclose(found.values, [shapley[(i,)] for i in range(6)], rtol=0, atol=1e-9)
    interactions = oracle(index="SII", order=2)
    for i, j in pairs(6):
        assert found.interactions()[i, j] == pytest.approx(interactions[(i, j)], abs=1e-9)
    with pc.Game(6, "exact") as game:
        model.shapley(data, players=SIX, game=game)
        np.testing.assert_allclose(
            game.banzhaf(), [banzhaf[(i,)] for i in range(6)], rtol=0, atol=1e-9
        )
    assert found.unit_names == (
        "block.0+block.1",
        "attn.2+ffn.3",
        "ffn.2",
        "ffn.4+block.5",
        "attn.11",
        "ffn.11",
    )
    # Value is damage averted: the first two blocks matter most by far.
    assert found.values.argmax() == 0
    assert found.values.sum() == pytest.approx(table.table[-1] - table.table[0], abs=1e-9)


@pytest.mark.parametrize("measure", ["loss", "logit_l2", "kl", "js"])
def test_damages_are_those_of_single_evaluations(
    model: pc.Model, data: pc.Data, measure: str
) -> None:
    rng = np.random.default_rng(0)
    masks = (rng.random((12, 24)) < 0.8).astype(np.uint8)
    masks[0] = 1
    found = model.damages(data, masks, measure)
    assert found.measure == measure and len(found) == 12
    single = [model.damages(data, [mask], measure).values[0] for mask in masks]
    np.testing.assert_allclose(found.values, single, rtol=1e-5, atol=1e-6)
    if measure == "loss":
        losses = [row.loss for row in model.evaluate_masks(data, list(masks))]
        np.testing.assert_allclose(found.values, losses, rtol=0, atol=2e-6)
        return
    assert found.values[0] == pytest.approx(0, abs=1e-6)
    wanted = [distance(model, data, masks[0], mask, measure) for mask in masks]
    np.testing.assert_allclose(found.values, wanted, rtol=2e-4, atol=2e-5)
    reference = pc.Mask(masks[3])
    other = model.damages(data, masks, measure, reference=reference)
    assert other.values[3] == pytest.approx(0, abs=1e-6)
    wanted = [distance(model, data, masks[3], mask, measure) for mask in masks]
    np.testing.assert_allclose(other.values, wanted, rtol=2e-4, atol=2e-5)


def distance(
    model: pc.Model, data: pc.Data, one: np.ndarray, two: np.ndarray, measure: str
) -> float:
    """By the definitions, in double, from the logits of the tokens that predict."""
    last = np.cumsum([len(row) for row in data.sequences]) - 1
    a, b = (np.delete(model.logits(data, mask).astype(np.float64), last, 0) for mask in (one, two))
    if measure == "logit_l2":
        return float(np.linalg.norm(a - b, axis=1).mean())
    p, q = (np.exp(x - x.max(1, keepdims=True)) for x in (a, b))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)

    def kl(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x * np.log(np.maximum(x, 1e-300) / np.maximum(y, 1e-300))).sum(1)

    if measure == "kl":
        return float(kl(p, q).mean())
    middle = (p + q) / 2
    return float(((kl(p, middle) + kl(q, middle)) / 2).mean())


def test_masks_of_every_kind_are_taken(model: pc.Model, data: pc.Data) -> None:
    mask = pc.Mask.remove("attn.3", 12)
    one = model.damages(data, [mask, pc.Mask.all(12)]).values
    assert np.array_equal(model.damages(data, np.stack([mask.keep, np.ones(24)])).values, one)
    assert np.array_equal(model.damages(data, [[*mask.keep.tolist()], [1] * 24]).values, one)
    assert model.damages(data).values == pytest.approx([one[1]], abs=1e-6)
    with model.masked(mask):
        assert model.damages(data).values == pytest.approx([one[0]], abs=1e-6)
    empty = model.damages(data, [])
    assert empty.values.shape == (0,) and empty.report.sublayers_computed == 0
    for wrong, words in ((mask, "single"), ([None], "None"), (np.ones((2, 22)), "22")):
        with pytest.raises(pc.ArgumentError, match=words):
            model.damages(data, wrong)


def test_cap_bounds_damages(model: pc.Model, data: pc.Data) -> None:
    masks = np.ones((3, 24), dtype=np.uint8)
    masks[1], masks[2, 1] = 0, 0
    raw = model.damages(data, masks).values
    assert raw[1] > 10
    assert np.array_equal(model.damages(data, masks, cap=4.5).values, np.minimum(raw, 4.5))
    for wrong in (0, -1, float("nan"), "default", "high"):
        with pytest.raises(pc.ArgumentError, match="cap"):
            model.damages(data, masks, cap=wrong)


def test_cap_bounds_the_damages_of_a_game(model: pc.Model, data: pc.Data) -> None:
    options: dict[str, Any] = {"players": SIX, "estimator": "exact"}
    default = model.shapley(data, **options)
    ceiling = math.log(model.shape.vocabulary_size)
    assert default.provenance["cap"] == ceiling
    assert np.array_equal(model.shapley(data, **options, cap=ceiling).values, default.values)
    raw = model.shapley(data, **options, cap=None)
    assert raw.provenance["cap"] is None and raw.values.sum() > default.values.sum()
    assert model.shapley(data, **options, measure="js").provenance["cap"] is None
    for wrong in ("high", 0, -2):
        with pytest.raises(pc.ArgumentError, match="cap"):
            model.shapley(data, **options, cap=wrong)


def test_planner_computes_what_masks_share_once(model: pc.Model, data: pc.Data) -> None:
    blocks = np.repeat(all_masks(12), 2, axis=1).astype(np.uint8)
    report = model.damages(data, blocks).report
    batches = report.sublayers_naive // (2 * 12 * 2**11)
    assert batches >= 1 and report.sublayers_naive == batches * 2 * 24_576
    assert report.sublayers_computed == batches * 2 * 4_095
    assert report.tokens == data.n_tokens and report.seconds > 0

    alone = np.ones((24, 24), dtype=np.uint8) - np.eye(24, dtype=np.uint8)
    report = model.damages(data, alone).report
    assert report.sublayers_naive == batches * 24 * 23
    assert report.sublayers_computed == batches * (23 + 23 * 24 // 2)
    with_all = np.concatenate([np.ones((1, 24), dtype=np.uint8), alone])
    report = model.damages(data, with_all).report
    assert report.sublayers_naive == batches * 576
    assert report.sublayers_computed == batches * 300


def test_exact_block_game_is_one_walk(model: pc.Model, data: pc.Data) -> None:
    found = model.shapley(data[:1], granularity="block", estimator="exact", batch_coalitions=4096)
    state = found.state
    assert state.told == 4096 and state.done
    assert (state.sublayers_computed, state.sublayers_naive) == (8_190, 49_152)
    assert not found.standard_errors.any() and state.efficiency_gap == pytest.approx(0, abs=1e-9)


def test_little_memory_costs_time_but_no_accuracy(model: pc.Model, data: pc.Data) -> None:
    masks = (np.random.default_rng(1).random((40, 24)) < 0.7).astype(np.uint8)
    free, tight = (model.damages(data, masks, memory_budget=budget) for budget in (None, 1))
    assert np.array_equal(free.values, tight.values)
    assert tight.report.sublayers_computed > free.report.sublayers_computed
    with pytest.raises(pc.ArgumentError, match="memory_budget"):
        model.damages(data, masks, memory_budget=0)


@pytest.mark.parametrize("granularity", pc.GRANULARITIES)
def test_estimates_agree_with_a_game_played_by_hand(
    model: pc.Model, data: pc.Data, granularity: str
) -> None:
    found = model.shapley(data, granularity=granularity, budget=40, seed=3)
    units = len(found.unit_names)
    assert found.granularity == granularity and units == (24 if granularity == "sublayer" else 12)

    def worth(masks: np.ndarray) -> np.ndarray:
        keep = np.ones((len(masks), 24), dtype=np.uint8)
        for unit, names in enumerate(found.units):
            for name in names:
                keep[:, pc.Mask.remove(name, 12).keep == 0] = masks[:, [unit]]
        values = model.damages(data, keep, cap=math.log(2048)).values
        return -values

    with pc.Game(units, seed=3, budget=40) as game:
        by_hand = play(game, worth).result()
    np.testing.assert_allclose(found.values, by_hand.values, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.standard_errors, by_hand.standard_errors, rtol=1e-6, atol=1e-9)
    assert found.state.told == by_hand.state.told == 40


def test_leave_one_out_is_that_of_score(model: pc.Model, data: pc.Data) -> None:
    found = model.shapley(data, estimator="leave_one_out", cap=None)
    wanted = model.score(data, "leave_one_out_loss")["leave_one_out_loss"]
    np.testing.assert_allclose(found.values, wanted, rtol=0, atol=2e-6)
    state = found.state
    assert state.told == 25 and state.sublayers_naive % 576 == 0
    assert state.sublayers_computed == state.sublayers_naive // 576 * 300


def test_paper_default_is_affine_in_the_damage(model: pc.Model, data: pc.Data) -> None:
    # arXiv 2407.16286: influence_i = N / (N - 1) d_i - T / (N - 1), where d_i is the damage when i
    # is left out and T their sum. Sequences are of one length, so that their means weigh the same.
    n, length = 12, len(data.sequences[0])
    options: dict[str, Any] = {"granularity": "block", "cap": None, "batch_tokens": length}
    found = model.shapley(
        data,
        estimator="random_subnetworks",
        subnetwork_size=n - 1,
        subnetworks_per_round=n,
        budget=n * data.n_sequences,
        **options,
    )
    damage = model.shapley(data, estimator="leave_one_out", **options).values
    wanted = n / (n - 1) * damage - damage.sum() / (n - 1)
    assert found.state.told == n * data.n_sequences
    np.testing.assert_allclose(found.values, wanted, rtol=0, atol=1e-9)
    assert found.metrics == ("random_subnetworks",)


def test_random_subnetworks_are_measured_on_their_own_sequence(
    model: pc.Model, data: pc.Data
) -> None:
    told: list[int] = []
    with pc.Game(12, "random_subnetworks", seed=1, budget=30, subnetworks_per_round=10) as game:
        found = model.shapley(
            data,
            granularity="block",
            game=game,
            cap=None,
            progress=lambda report: told.append(report.state.told),
        )
        # The same game, played by hand one sequence after the other.
        again = pc.Game(12, "random_subnetworks", seed=1, budget=30, subnetworks_per_round=10)
        for row in range(3):
            masks = again.ask(10)
            assert (masks.sum(1) == 6).all()
            keep = np.repeat(masks, 2, axis=1).astype(np.uint8)
            again.tell(masks, -model.damages(data[row : row + 1], keep).values)
    assert found.state.told == 30 and told[-1] == 30
    np.testing.assert_allclose(found.values, again.values, rtol=0, atol=1e-5)


def test_player_that_was_never_absent_is_named(model: pc.Model, data: pc.Data) -> None:
    with pytest.raises(pc.DataError, match=r"player \d+ was never absent"):
        model.shapley(
            data,
            granularity="block",
            estimator="random_subnetworks",
            subnetwork_size=11,
            budget=5,
        )


def test_progress_tells_how_the_estimate_settles(model: pc.Model, data: pc.Data) -> None:
    seen: list[pc.GameProgress] = []
    thread = threading.get_ident()

    def progress(found: pc.GameProgress) -> None:
        assert threading.get_ident() == thread
        seen.append(found)

    stages: list[tuple[str, int, int]] = []
    found = model.shapley(
        data,
        granularity="block",
        budget=60,
        batch_coalitions=10,
        progress=progress,
        batch_progress=lambda stage, done, total, _: stages.append((stage, done, total)),
    )
    assert [report.state.told for report in seen] == [10, 20, 30, 40, 50, 60]
    assert [report.seconds for report in seen] == sorted(report.seconds for report in seen)
    last = seen[-1]
    assert last.values is not None and last.standard_errors is not None
    assert np.array_equal(last.values, found.values)
    assert np.array_equal(last.standard_errors, found.standard_errors)
    assert last.state.largest_error == found.standard_errors.max()
    assert stages and all(stage and 0 <= done <= total for stage, done, total in stages)
    known = [report.values is not None for report in seen]
    assert known == sorted(known)


def test_cancelled_games_can_be_gone_on_with(model: pc.Model, data: pc.Data) -> None:
    options: dict[str, Any] = {"granularity": "block", "batch_coalitions": 8}
    whole = model.shapley(data, budget=48, **options)
    with pc.Game(12, budget=48) as game:
        with pytest.raises(pc.Cancelled):
            model.shapley(data, game=game, progress=lambda r: r.state.told >= 16, **options)
        assert game.state.told == 16 and not game.done
        again = pc.Game.load(game.save())
        for resumed in (game, again):
            found = model.shapley(data, game=resumed, **options)
            assert np.array_equal(found.values, whole.values)
            assert np.array_equal(found.standard_errors, whole.standard_errors)
            assert found.state == whole.state
        assert not game.closed


class Odd(Exception):
    """Raised by callbacks."""


def test_exceptions_of_both_callbacks_come_through(model: pc.Model, data: pc.Data) -> None:
    calls: list[object] = []

    def fail(*report: object) -> None:
        calls.append(report)
        raise Odd("as it is")

    for name in ("progress", "batch_progress"):
        calls.clear()
        with pc.Game(12, budget=48) as game:
            with pytest.raises(Odd, match="as it is") as caught:
                model.shapley(data, granularity="block", game=game, **{name: fail})
            assert caught.traceback[-1].name == "fail" and len(calls) == 1
            assert model.shapley(data, granularity="block", game=game).state.told == 48
    with pytest.raises(pc.Cancelled):
        model.shapley(data, batch_progress=lambda *_: True)
    with pytest.raises(TypeError):
        model.shapley(data, progress=lambda: None)  # type: ignore[misc, arg-type]


def test_sublayer_budget_ends_the_game(model: pc.Model, data: pc.Data) -> None:
    full = model.shapley(data, granularity="block", estimator="antithetic", budget=200)
    half = full.state.sublayers_computed // 2
    found = model.shapley(
        data, granularity="block", estimator="antithetic", budget=200, sublayer_budget=half
    )
    assert found.state.sublayers_computed <= half
    assert 0 < found.state.told < full.state.told
    with pytest.raises(pc.ArgumentError, match="sublayer_budget"):
        model.shapley(data, sublayer_budget=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"measure": "best"}, "best"),
        ({"granularity": "head"}, "head"),
        ({"estimator": "best"}, "best"),
        ({"estimator": "exact"}, "20"),
        ({"players": []}, "at least one"),
        ({"players": [["attn.12"]]}, "attn.12"),
        ({"budget": 0}, "budget"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"batch_coalitions": 0}, "batch_coalitions"),
        ({"game": 12, "granularity": "sublayer"}, "12"),
        ({"game": 24, "checkpoint": "file"}, "not both"),
        ({"reference": np.ones(22)}, "22"),
    ],
)
def test_wrong_options_of_a_game_are_named(
    model: pc.Model, data: pc.Data, options: dict[str, Any], words: str
) -> None:
    if "game" in options:
        options = {**options, "game": pc.Game(options["game"])}
    with pytest.raises(pc.ArgumentError, match=words):
        model.shapley(data, **options)


def test_choice_damages_need_choices(model: pc.Model, data: pc.Data) -> None:
    for call in (model.damages, model.shapley):
        with pytest.raises(pc.DataError, match="choice"):
            call(data, measure="choice_error")
    with pytest.raises(pc.DataError, match="2048"):
        model.shapley(pc.Data([[1, 2048]]))


def test_own_mask_of_the_model_plays_no_part(model: pc.Model, data: pc.Data) -> None:
    options: dict[str, Any] = {"granularity": "attention", "budget": 20}
    free = model.shapley(data, **options)
    with model.masked(pc.Mask.remove(["ffn.2", "attn.4"], 12)):
        assert np.array_equal(model.shapley(data, **options).values, free.values)


def test_provenance_says_what_was_played(model: pc.Model, data: pc.Data) -> None:
    found = model.shapley(data, measure="kl", granularity="block", budget=30, seed=5).provenance
    assert found["data_sha256"] == data.digest
    assert (found["n_sequences"], found["n_tokens"]) == (3, data.n_tokens)
    assert found["model"] == model.provenance and found["library"] == f"prunecore {pc.__version__}"
    assert found["measure"] == "kl" and found["cap"] is None
    assert found["options"]["estimator"] == "surrogate"
    assert (found["options"]["seed"], found["options"]["budget"]) == (5, 30)


def test_pruning_by_value_beats_chance(model: pc.Model, tales_dir: Path) -> None:
    text = pc.Data.from_text(tales_dir / "plays.jsonl", model, 64, limit=12)
    found = model.shapley(text[:4], budget=256, granularity="sublayer")
    chosen = model.evaluate(text[4:], found.prune(6)).loss
    rng = np.random.default_rng(0)
    random = []
    for _ in range(5):
        keep = np.ones(24, dtype=np.uint8)
        keep[rng.choice(24, 6, replace=False)] = 0
        random.append(keep)
    assert chosen < min(row.loss for row in model.evaluate_masks(text[4:], random))
