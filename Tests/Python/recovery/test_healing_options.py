# SPDX-License-Identifier: Apache-2.0
"""What every door of healing shares: names of what is trained, schedules, orders of sequences."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from prunecore.recovery.healing_options import HealingOptions
from prunecore.recovery.random_source import RandomSource
from prunecore.recovery.trained_names import TrainedNames, trained_names
from prunecore.recovery.training_sequences import SequenceOrder, hold_out, predicting

MASK = pc.Mask.remove(["block.1", "attn.3", "ffn.4"], 6)


def named(*train: str) -> TrainedNames:
    return trained_names(train, MASK.keep)


def test_names_stand_for_kept_sublayers() -> None:
    assert named("last:1").sublayers == (10, 11)
    assert named("last:3").sublayers == (7, 8, 10, 11)  # blocks 3 and 4 are halves
    assert named("last:5").sublayers == (0, 1, 4, 5, 7, 8, 10, 11)
    assert named("block.3", "attn.5", "block.3").sublayers == (7, 10)
    assert named("block.3", "attn.5", "block.3").names == ("block.3", "attn.5")
    parts = named("head", "norms")
    assert parts.head and parts.norms and parts.final_norm
    assert not parts.embedding and not parts.everything and parts.sublayers == ()
    all_of_it = named("all")
    assert (
        all_of_it.everything
        and all_of_it.embedding
        and all_of_it.sublayers == (*(0, 1, 4, 5, 7, 8, 10, 11),)
    )
    text = trained_names("head, final-norm, last:1", MASK.keep)
    assert text.names == ("head", "final_norm", "last:1")


def test_one_matrix_at_both_ends_is_trained_alone_only_if_it_is_untied() -> None:
    for name in ("head", "embedding"):
        with pytest.raises(pc.ArgumentError, match=f"train names {name}.*untie_head=True"):
            named(name).check_head(tied=True, untie=False)
        named(name).check_head(tied=True, untie=True)
        named(name).check_head(tied=False, untie=False)
    named("all").check_head(tied=True, untie=False)
    with pytest.raises(pc.ArgumentError, match="untie_head is set"):
        named("last:1").check_head(tied=True, untie=True)


def test_rates_rise_in_a_line_and_fall_as_the_schedule_says() -> None:
    def rates(**more: object) -> list[float]:
        options = HealingOptions(steps=8, learning_rate=2.0, **more)  # type: ignore[arg-type]
        return [options.rate(step) for step in range(1, 9)]

    assert rates(schedule="constant", warmup_steps=4) == [0.5, 1, 1.5, 2, 2, 2, 2, 2]
    assert rates(warmup_steps=4) == [0.5, 1, 1.5, 2, 2, 1.5, 1, 0.5]
    cosine = [1 + math.cos(math.pi * share / 4) for share in range(4)]
    assert rates(schedule="cosine", warmup_steps=4)[4:] == pytest.approx(cosine)
    assert rates(warmup_steps=0)[0] == 2 and rates()[0] == 2  # a tenth of 8 steps is none
    assert HealingOptions(steps=100).warmup == 10 and HealingOptions(steps=100).look_interval == 5
    assert HealingOptions(clip_norm=math.inf).to_dict()["clip_norm"] is None


def test_random_numbers_are_those_of_the_library(tales: pc.Model) -> None:
    for seed in (0, 7, 2**64 - 1):
        search = pc.Search(tales, "random", "sublayer", remove=5, seed=seed)
        drawn = RandomSource(seed, 0).permutation(24)[:5]
        while not search.done:
            masks = search.ask(10)
            search.tell(masks, np.zeros(len(masks)))
        assert sorted(drawn) == [int(u) for u in np.flatnonzero(search.mask.keep == 0)]


def test_sequences_are_drawn_and_held_out_as_the_library_does(
    tales: pc.Model, tales_dir: Path
) -> None:
    text = pc.Data.from_text(tales_dir / "maths.jsonl", tales, 8, limit=6)
    silent = np.ones((6, 8))
    silent[2, 1:] = 0  # says nothing
    data = pc.Data(list(text.sequences), list(silent))
    mask = pc.Mask.remove("ffn.6", 12)
    losses = [tales.evaluate(text[i : i + 1], mask).loss for i in range(6)]
    assert predicting(data) == [0, 1, 3, 4, 5]
    for seed in (0, 3):
        # Adapters that add nothing, and hardly move: the loss of each step is that of its sequence.
        adapters = tales.recover(
            mask, data, "bias", objective="ce", start="zero", steps=12, step_tokens=8, seed=seed,
            learning_rate=1e-30, evaluate_every=1, held_out=text,
        )  # fmt: skip
        order = SequenceOrder(predicting(data), seed)
        drawn = [order.batch(step, 1)[0] for step in range(12)]
        found = [record.loss for record in adapters.history[1:]]
        assert found == pytest.approx([losses[index] for index in drawn], abs=1e-4)
        assert sorted(drawn[:5]) == sorted(drawn[5:10]) == predicting(data)
        assert order.batch(0, 3) == drawn[:3] and len(order.batch(4, 100)) == 5
        adapters = tales.recover(
            mask, data, "bias", objective="ce", start="zero", steps=1, seed=seed
        )
        rest, aside = hold_out(data, seed)
        assert adapters.summary.held_out_before == pytest.approx(
            tales.evaluate(aside, mask).loss, abs=1e-5
        )
        assert aside.n_sequences == 1 and rest.n_sequences == 4
