# SPDX-License-Identifier: Apache-2.0
"""`Model.recover`: what adapters win back, training, checkpoints, cancelling, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

MASK = pc.Mask.remove(["attn.6", "attn.8"], 12)
SMALL: dict[str, Any] = {"rank": 4, "step_tokens": 256, "seed": 3, "ridge": 1e-3}


@pytest.fixture(scope="module")
def text(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "stories.jsonl", model, 128)[:24]


@pytest.fixture(scope="module")
def held_out(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "stories.jsonl", model, 128)[24:36]


def test_the_bias_is_the_mean_update(model: pc.Model, text: pc.Data, held_out: pc.Data) -> None:
    found = model.recover(MASK, text, "bias", stream="full_model", held_out=held_out)
    for adapter in found:
        before = model.hidden_states(text, adapter.sublayer).astype(float)
        after = model.hidden_states(text, adapter.sublayer + 1)
        wanted = (after - before).mean(axis=0)
        np.testing.assert_allclose(found.get(adapter.name, "bias"), wanted, rtol=1e-4, atol=1e-5)
    assert found.summary.statistics_tokens == text.n_tokens


@pytest.mark.parametrize("stream", ["recovered", "full_model"])
@pytest.mark.parametrize("input_", ["normed", "raw"])
def test_each_form_is_worth_more_than_the_one_before(
    model: pc.Model, text: pc.Data, held_out: pc.Data, stream: Any, input_: Any
) -> None:
    def loss(kind: Any, rank: int = 16) -> float:
        found = model.recover(MASK, text, kind, rank, stream=stream, input=input_)
        assert all(a.input == (input_ if kind != "bias" else "raw") for a in found)
        return model.evaluate(held_out, adapters=found).loss

    full, pruned = model.evaluate(held_out).loss, model.evaluate(held_out, MASK).loss
    assert full < loss("low_rank") < loss("bias") < pruned


def test_rank_and_ridge_are_chosen_on_held_out_text(
    model: pc.Model, text: pc.Data, held_out: pc.Data
) -> None:
    found = model.recover(MASK, text, rank="auto", held_out=held_out)
    for adapter in found:
        assert adapter.rank in {1, 2, 4, 8, 16, 32, 64, 128}
        assert adapter.ridge is not None and adapter.ridge > 0
        assert adapter.explained is not None and 0 < adapter.explained < 1
    given = model.recover(MASK, text, ridge=0.25, held_out=held_out)
    assert [adapter.ridge for adapter in given] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("slot", "names"),
    [
        ("attention", ["attn.8"]),
        ("feed_forward", ["ffn.8"]),
        ("both", ["attn.8", "ffn.8"]),
    ],
)
def test_a_block_gets_its_adapter_where_it_is_asked(
    model: pc.Model, text: pc.Data, slot: Any, names: list[str]
) -> None:
    mask = pc.Mask.remove("block.8", 12)
    found = model.recover(mask, text, rank=4, block_slot=slot)
    assert found.sublayers == names
    assert model.evaluate(text, adapters=found).loss < model.evaluate(text, mask).loss


@pytest.mark.parametrize("objective", ["mse", "ce", "kl", "js"])
@pytest.mark.parametrize("start", ["zero", "closed_form"])
def test_training_lowers_its_objective(
    model: pc.Model, text: pc.Data, held_out: pc.Data, objective: Any, start: Any
) -> None:
    told: list[pc.TrainingProgress] = []
    found = model.recover(
        MASK, text, objective=objective, start=start, steps=8, held_out=held_out,
        evaluate_every=2, on_step=told.append, **SMALL,
    )  # fmt: skip
    assert [step.step for step in told] == list(range(1, 9))
    assert all(step.steps == 8 and step.tokens_per_second > 0 for step in told)
    summary, history = found.summary, found.history
    assert summary.objective == objective
    assert (summary.steps, summary.trained_tokens) == (8, 8 * 256)
    assert [record.step for record in history] == [0, 2, 4, 6, 8]
    assert history[0].loss is None
    losses = [record.held_out_loss for record in history]
    assert summary.held_out_before == losses[0]
    assert summary.held_out_best == min(losses) == told[-1].best_loss
    assert summary.best_step == 2 * int(np.argmin(losses))
    if start == "zero":
        assert min(losses) < losses[0]
        if objective == "ce":  # adapters that add nothing: the pruned model
            assert losses[0] == pytest.approx(model.evaluate(held_out, MASK).loss, abs=1e-4)
    assert model.evaluate(held_out, adapters=found).loss < model.evaluate(held_out, MASK).loss
    if objective == "ce":
        worth = model.evaluate(held_out, adapters=found).loss
        assert worth == pytest.approx(summary.held_out_best, abs=1e-4)


def test_seed_decides_what_a_training_draws(model: pc.Model, text: pc.Data) -> None:
    def digest(seed: int) -> str:
        return model.recover(
            MASK, text, rank=2, objective="ce", start="zero", steps=2, step_tokens=256, seed=seed
        ).digest

    assert digest(1) == digest(1) != digest(2)


def test_training_goes_on_from_other_adapters(
    model: pc.Model, text: pc.Data, held_out: pc.Data
) -> None:
    first = model.recover(MASK, text, rank=2)
    trained = model.recover(
        MASK, text, rank=2, objective="kl", steps=2, step_tokens=256, initial=first,
        held_out=held_out,
    )  # fmt: skip
    assert [adapter.rank for adapter in trained] == [2, 2]
    fresh = model.recover(MASK, text, rank=2, objective="kl", steps=2, step_tokens=256,
                          start="zero", held_out=held_out)  # fmt: skip
    assert trained.history[0].held_out_loss < fresh.history[0].held_out_loss
    with pytest.raises(pc.ArgumentError, match="mask"):
        model.recover(pc.Mask.remove("ffn.2", 12), text, objective="kl", steps=1, initial=first)


def test_a_stopped_training_goes_on_with_the_same_bits(
    model: pc.Model, text: pc.Data, held_out: pc.Data, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "objective": "kl", "steps": 6, "evaluate_every": 2, "held_out": held_out, **SMALL,
    }  # fmt: skip
    whole = model.recover(MASK, text, **options)
    file = tmp_path / "training"
    with pytest.raises(pc.Cancelled):
        model.recover(MASK, text, checkpoint=file, on_step=lambda told: told.step == 3, **options)
    assert file.is_file()
    steps: list[int] = []
    again = model.recover(
        MASK, text, checkpoint=file, on_step=lambda told: steps.append(told.step), **options
    )
    assert steps[-1] == 6 and steps[0] in (3, 4)
    assert again.digest == whole.digest
    assert again.history == whole.history
    with pytest.raises(pc.FormatError, match="training"):
        model.recover(MASK, text, checkpoint=file, **{**options, "seed": 4})
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(pc.FormatError, match="training"):
        model.recover(MASK, text, checkpoint=file, **options)


def test_callbacks_of_a_training_stop_it_and_raise(model: pc.Model, text: pc.Data) -> None:
    with pytest.raises(pc.Cancelled):
        model.recover(MASK, text, progress=lambda *_: True)

    def fail(_told: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.recover(MASK, text, objective="ce", start="zero", steps=2, on_step=fail)


def test_recovery_refuses_masks_that_remove_nothing(model: pc.Model, text: pc.Data) -> None:
    for mask in (None, pc.Mask.all(12)):
        with pytest.raises(pc.ArgumentError, match="remove"):
            model.recover(mask, text)
    with model.masked(MASK):  # the model's mask, where none is given
        assert model.recover(None, text, "bias").mask == MASK


@pytest.mark.parametrize("objective", ["ce", "kl"])
def test_recovery_refuses_too_little_data(model: pc.Model, text: pc.Data, objective: Any) -> None:
    with pytest.raises(pc.DataError):
        pc.Data([])
    with pytest.raises(pc.DataError):
        model.recover(MASK, pc.Data([[1]]), objective=objective, steps=1)
    with pytest.raises(pc.DataError):
        model.recover(MASK, pc.Data([[1], [2]]), objective=objective, steps=1, held_out=text)
    with pytest.raises(pc.DataError):  # one sequence: none can be held out
        model.recover(MASK, text[:1], objective=objective, steps=1)
    with pytest.raises(pc.DataError):
        model.recover(MASK, pc.Data([[1, 5000, 3]] * 4), objective=objective, steps=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "lora"}, "kind is 'lora'"),
        ({"objective": "accuracy"}, "objective is 'accuracy'"),
        ({"start": "random"}, "start is 'random'"),
        ({"stream": "both"}, "stream is 'both'"),
        ({"input": "output"}, "input is 'output'"),
        ({"block_slot": "none"}, "block_slot is 'none'"),
        ({"rank": 0}, "rank is 0"),
        ({"rank": 129}, "rank"),
        ({"rank": "all"}, "rank is 'all'"),
        ({"ridge": 0}, "ridge is 0"),
        ({"ridge": float("nan")}, "ridge is nan"),
        ({"steps": 0}, "steps is 0"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"clip_norm": 0}, "clip_norm is 0"),
        ({"held_out_share": 1}, "held_out_share is 1"),
        ({"patience": 1.5}, "patience is 1.5"),
        ({"checkpoint": ""}, "checkpoint"),
    ],
)
def test_recovery_refuses_wrong_options(
    model: pc.Model, text: pc.Data, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(pc.ArgumentError, match=words):
        model.recover(MASK, text, **options)


def test_training_without_a_bound_on_gradients(model: pc.Model, text: pc.Data) -> None:
    found = model.recover(
        MASK, text, rank=2, objective="ce", steps=1, step_tokens=256, clip_norm=float("inf")
    )
    assert found.summary.steps == 1
