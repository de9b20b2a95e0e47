# SPDX-License-Identifier: Apache-2.0
"""Moments: parts merged are the whole, and what is solved is the ridge regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import prunecore as pc
import pytest

MASK = pc.Mask.remove(["attn.6", "ffn.8"], 12)


@pytest.fixture(scope="module")
def text(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "stories.jsonl", model, 128)[:16]


def test_moments_of_parts_merge_to_the_whole(model: pc.Model, text: pc.Data) -> None:
    whole = pc.Moments(model, MASK).collect(text).solve(ridge=1e-3)
    first = pc.Moments(model, MASK).collect(text[:5]).collect(text[5:8])
    with pc.Moments(model, MASK).collect(text[8:]) as second:
        parts = first.merge(second).solve(ridge=1e-3)
    assert whole.summary.statistics_tokens == parts.summary.statistics_tokens == text.n_tokens
    for name in whole.sublayers:
        a, b = whole.matrix(name), parts.matrix(name)
        assert np.linalg.norm(a - b) < 1e-4 * np.linalg.norm(a)
        np.testing.assert_allclose(whole.get(name, "bias"), parts.get(name, "bias"), atol=1e-4)
    digests = [part.digest for part in (text[:5], text[5:8], text[8:])]
    assert parts.provenance["data_sha256"] == digests


def test_linear_adapters_are_ridge_regressions(model: pc.Model, text: pc.Data) -> None:
    ridge = 1e-2
    found = pc.Moments(model, MASK, kind="linear", input="raw").collect(text).solve(ridge=ridge)
    for name in found.sublayers:
        index = found[name].sublayer
        x = model.hidden_states(text, index).astype(float)
        update = model.hidden_states(text, index + 1) - x
        x_mean, update_mean = x.mean(axis=0), update.mean(axis=0)
        covariance = (x - x_mean).T @ (x - x_mean) / len(x)
        both = (x - x_mean).T @ (update - update_mean) / len(x)
        strength = ridge * np.trace(covariance) / len(covariance)
        wanted = np.linalg.solve(covariance + strength * np.eye(len(covariance)), both).T
        matrix = found.matrix(name)
        assert np.linalg.norm(matrix - wanted) < 1e-4 * np.linalg.norm(wanted)
        bias = update_mean - wanted @ x_mean
        np.testing.assert_allclose(found.get(name, "bias"), bias, atol=1e-3 * np.abs(bias).max())


def test_recover_solves_what_moments_solve(model: pc.Model, text: pc.Data) -> None:
    with pc.Moments(model, MASK).collect(text) as moments:
        solved = moments.solve(rank=8, ridge=1e-3)
    held_out = text[:2]
    found = model.recover(MASK, text, rank=8, ridge=1e-3, stream="full_model", held_out=held_out)
    for name in found.sublayers:
        a, b = found.matrix(name), solved.matrix(name)
        assert np.linalg.norm(a - b) < 1e-4 * np.linalg.norm(a)


def test_held_out_moments_choose_ridge_and_rank(model: pc.Model, text: pc.Data) -> None:
    moments = pc.Moments(model, MASK).collect(text[:12])
    held_out = pc.Moments(model, MASK).collect(text[12:])
    found = moments.solve(held_out, rank="auto")
    assert all(adapter.explained is not None for adapter in found)
    assert [a.ridge for a in moments.solve()] == pytest.approx([1e-3, 1e-3])
    with pytest.raises(pc.ArgumentError, match="rank"):
        moments.solve(rank="auto")


def test_moments_for_a_bias_keep_no_matrices(model: pc.Model, text: pc.Data) -> None:
    moments = pc.Moments(model, MASK, kind="bias").collect(text)
    assert {adapter.kind for adapter in moments.solve()} == {"bias"}
    with pytest.raises(pc.ArgumentError):
        moments.solve(kind="low_rank")


def test_moments_used_wrongly_are_refused(model: pc.Model, text: pc.Data) -> None:
    with pytest.raises(pc.ArgumentError, match="remove"):
        pc.Moments(model)
    empty = pc.Moments(model, MASK)
    with pytest.raises(pc.DataError):
        empty.solve()
    with pytest.raises(pc.ArgumentError):
        empty.merge(pc.Moments(model, pc.Mask.remove("attn.1", 12)))
    with pytest.raises(pc.ArgumentError):
        empty.merge(pc.Moments(model, MASK, input="raw"))
    with pytest.raises(pc.Cancelled):
        empty.collect(text, progress=lambda *_: True)
    with pytest.raises(pc.DataError):  # nothing of it was added
        empty.solve()
    empty.close()
    with pytest.raises(pc.HandleError, match="moments"):
        empty.solve()
