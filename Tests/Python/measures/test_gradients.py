# SPDX-License-Identifier: Apache-2.0
"""Gradients against differences of what is differentiated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

MASK = pc.Mask.remove(["attn.6", "ffn.8"], 12)


@pytest.fixture(scope="module")
def text(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "stories.jsonl", model, 40)[:3]


@pytest.fixture(scope="module")
def adapters(model: pc.Model, tales_dir: Path) -> pc.Adapters:
    data = pc.Data.from_text(tales_dir / "maths.jsonl", model, 128)[:8]
    return model.recover(MASK, data, rank=3, ridge=0.1)


def test_vjp_is_the_chain_rule(model: pc.Model, text: pc.Data) -> None:
    after = model.gradient(text, "ce", 24)
    pulled = after.values
    for sublayer in reversed(range(20, 24)):
        states = model.hidden_states(text, sublayer)
        pulled = model.vjp(text, sublayer, states, pulled)
    whole = model.gradient(text, "ce", "attn.10")
    assert whole.loss == after.loss == pytest.approx(model.evaluate(text).loss, abs=1e-5)
    error = np.linalg.norm(pulled - whole.values) / np.linalg.norm(whole.values)
    assert error < 1e-4


def test_gradients_do_not_reach_back_to_where_there_is_no_way(
    model: pc.Model, text: pc.Data
) -> None:
    # Nothing predicts from the last token of a sequence; earlier ones do not see it.
    last = np.cumsum([len(row) for row in text.sequences]) - 1
    found = model.gradient(text, "ce", 0).values
    assert not found[last].any() and np.abs(found[last - 1]).max() > 0


@pytest.mark.parametrize("objective", ["kl", "js"])
def test_distances_to_the_model_itself_are_at_their_least(
    model: pc.Model, text: pc.Data, objective: Any
) -> None:
    whole = model.gradient(text, objective, 0, pc.Mask.all(12))
    pruned = model.gradient(text, objective, 0, MASK)
    assert whole.loss == pytest.approx(0, abs=1e-6) and pruned.loss > 1e-3
    assert np.linalg.norm(whole.values) < 1e-3 * np.linalg.norm(pruned.values)


@pytest.mark.parametrize("objective", ["ce", "kl", "js", "mse"])
@pytest.mark.parametrize("name", ["attn.6", "ffn.8"])
def test_adapter_gradients_are_differences(
    model: pc.Model, text: pc.Data, adapters: pc.Adapters, objective: Any, name: str, tmp_path: Path
) -> None:
    adapters.save(tmp_path)
    found = adapters.gradient(model, text, name, objective)
    assert found.parts.keys() == {"bias", "down", "up"}
    for part, values in found.parts.items():
        # Along the gradient itself the loss changes most, beyond what rounding hides.
        direction = values / np.linalg.norm(values)
        size = 1e-2
        losses = []
        for sign in (1, -1):
            with pc.Adapters.load(tmp_path) as moved:
                moved.set(name, part, moved.get(name, part) + sign * size * direction)
                losses.append(moved.gradient(model, text, name, objective).loss)
        slope = (losses[0] - losses[1]) / (2 * size)
        assert slope == pytest.approx(float(np.linalg.norm(values)), rel=2e-2)


def test_losses_of_adapter_gradients(model: pc.Model, text: pc.Data, adapters: pc.Adapters) -> None:
    found = adapters.gradient(model, text, "attn.6", "ce")
    assert found.loss == pytest.approx(model.evaluate(text, adapters=adapters).loss, abs=1e-5)


def test_gradients_used_wrongly_are_refused(
    model: pc.Model, text: pc.Data, adapters: pc.Adapters
) -> None:
    states = model.hidden_states(text, 3)
    with pytest.raises(pc.ArgumentError, match="states have the shape"):
        model.vjp(text, 3, states[1:], states)
    with pytest.raises(pc.ArgumentError, match="gradients have the shape"):
        model.vjp(text, 3, states, states[:, 1:])
    for wrong in (24, -1, "block.3", "attn.12"):
        with pytest.raises(pc.ArgumentError):
            model.vjp(text, wrong, states, states)
    with pytest.raises(pc.ArgumentError):
        model.gradient(text, "ce", 25)
    with pytest.raises(pc.ArgumentError):
        model.gradient(text, "closed_form")  # type: ignore[arg-type]
    with pytest.raises(pc.ArgumentError, match="objective"):
        model.gradient(text, "loss")  # type: ignore[arg-type]
    with pytest.raises(pc.ArgumentError, match=r"attn\.5"):
        adapters.gradient(model, text, "attn.5")
    with pytest.raises(pc.ArgumentError):
        adapters.gradient(model, text, "attn.6", "closed_form")  # type: ignore[arg-type]
    with pytest.raises(pc.Cancelled):
        model.gradient(text, progress=lambda *_: True)
