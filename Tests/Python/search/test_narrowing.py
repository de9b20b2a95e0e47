# SPDX-License-Identifier: Apache-2.0
"""Searches that narrow feed-forwards, on the embedded model: budgets, results, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from numpy_decoder import Decoder
from numpy_host import NumpyHost

BLOCKS = 12


@pytest.fixture(scope="module")
def data(model: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "plays.jsonl", model, 24, limit=3)


def bytes_left(model: pc.Model, mask: pc.Mask) -> int:
    with model.edited(mask) as narrowed:
        return narrowed.cost(mask).parameter_bytes


def test_a_byte_budget_is_met_and_used(model: pc.Model, data: pc.Data) -> None:
    whole = model.shape.parameter_bytes
    budget = int(0.8 * whole)
    for more in ({}, {"uniform": True}, {"multiple_of": 32}, {"neuron_metric": "norm"}):
        found = model.search(data, "narrow", parameter_bytes=budget, rounds=2, **more)
        left = bytes_left(model, found.mask)
        assert left <= budget
        # A step of the widths of all feed-forwards is the most that stays unused.
        step = 3 * model.shape.hidden_size * 2 * more.get("multiple_of", 1)
        assert left > budget - step * BLOCKS
        widths = found.provenance["widths"]
        kept = [widths[b] for b in range(BLOCKS) if found.mask.keep[2 * b + 1]]
        if "uniform" in more:
            assert len(set(kept)) == 1
        if "multiple_of" in more:
            assert all(w % 32 == 0 or w == model.shape.feed_forward_size for w in kept)
        assert found.state.start_damage < found.damage


def test_the_joint_search_is_no_worse_than_two_stages_at_equal_bytes(
    model: pc.Model, data: pc.Data
) -> None:
    two = model.search(data, "2ssp", sparsity=0.3)
    left = bytes_left(model, two.mask)
    joint = model.search(data, "narrow", parameter_bytes=left, rounds=3)
    assert bytes_left(model, joint.mask) <= left
    assert joint.damage <= two.damage


def test_the_same_call_gives_the_same_result_and_its_file_the_same_model(
    model: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    runs = [model.search(data, "narrow", sparsity=0.3, rounds=2) for _ in range(2)]
    assert runs[0].mask == runs[1].mask
    assert runs[0].path == runs[1].path
    runs[0].save(tmp_path / "search.json")
    loaded = pc.SearchResult.load(tmp_path / "search.json")
    assert loaded.mask == runs[0].mask
    assert loaded == runs[0]
    runs[0].mask.save(tmp_path / "mask.json")
    mask = pc.Mask.load(tmp_path / "mask.json")
    with model.edited(mask) as narrowed:
        assert narrowed.evaluate(data, mask).loss == pytest.approx(runs[0].damage, abs=1e-6)


def test_kept_neurons_are_those_of_the_highest_scores(model: pc.Model, data: pc.Data) -> None:
    scores = model.neuron_scores(data)
    assert scores.widths == (model.shape.feed_forward_size,) * BLOCKS
    kept = scores.keep({0: 5, 3: scores.widths[3]}, "contribution")
    assert list(kept) == [0]  # what keeps its width is left alone
    best = set(np.argsort(scores.contributions[0])[-5:].tolist())
    assert set(kept[0]) == best
    assert kept[0] == sorted(kept[0])
    grouped = scores.keep({1: 64}, "norm", group=32)[1]
    sums = (scores.norms[1].reshape(-1, 32) ** 2).sum(axis=1)
    wanted = sorted(np.argsort(sums)[-2:].tolist())
    assert grouped == [n for g in wanted for n in range(32 * g, 32 * g + 32)]


def test_ties_leave_the_lower_neuron() -> None:
    scores = pc.NeuronScores([[1.0, 2.0, 1.0, 2.0]], [[1.0, 1.0, 1.0, 1.0]])
    assert scores.keep({0: 3})[0] == [0, 1, 3]
    assert scores.keep({0: 2}, "contribution")[0] == [0, 1]


def test_scores_of_neurons_are_saved_and_read(
    model: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    scores = model.neuron_scores(data, pc.Mask.remove("ffn.4", BLOCKS))
    assert scores.widths[4] == 0
    scores.save(tmp_path / "neurons.json")
    loaded = pc.NeuronScores.load(tmp_path / "neurons.json")
    assert loaded.provenance == scores.provenance
    for metric in pc.NEURON_METRICS:
        for own, other in zip(scores[metric], loaded[metric], strict=True):
            np.testing.assert_array_equal(own, other)
    record = scores.to_dict()
    del record["norms"][0][0]
    (tmp_path / "bad.json").write_text(json.dumps(record))
    with pytest.raises(pc.FormatError, match=r"bad\.json.*different numbers of neurons"):
        pc.NeuronScores.load(tmp_path / "bad.json")


def test_infeasible_splits_say_why(model: pc.Model, data: pc.Data) -> None:
    with pytest.raises(pc.ArgumentError, match=r"removing 12 attention .* remove fewer"):
        model.search(data, "2ssp", sparsity=0.05, remove_attention=12)
    with pytest.raises(pc.ArgumentError, match="cannot be reached by removing 0 attention"):
        model.search(data, "2ssp", sparsity=0.95, remove_attention=0)
    with pytest.raises(pc.ArgumentError, match="1000 bytes cannot be met"):
        model.search(data, "2ssp", parameter_bytes=1000)
    with pytest.raises(pc.ArgumentError, match="1000 bytes cannot be met"):
        model.search(data, "narrow", parameter_bytes=1000, rounds=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give sparsity or parameter_bytes"),
        ({"sparsity": 0.2, "parameter_bytes": 9}, "give sparsity or parameter_bytes"),
        ({"sparsity": 1.5}, "sparsity is 1.5, but must be below 1"),
        ({"sparsity": 0.2, "uniform": True}, "options of narrow"),
        ({"sparsity": 0.2, "remove": 3}, "remove is no option of 2ssp"),
        ({"sparsity": 0.2, "checkpoint": "x"}, "checkpoint is no option of 2ssp"),
        ({"sparsity": 0.2, "measure": "kl"}, "measure is kl, but 2ssp goes by the loss"),
        ({"sparsity": 0.2, "granularity": "block"}, "granularity is block, but 2ssp takes"),
        ({"sparsity": 0.2, "neuron_metric": "best"}, "neuron_metric is 'best'"),
        ({"sparsity": 0.2, "protect": "ffn.3"}, "protect attention only"),
        ({"sparsity": 0.2, "multiple_of": 48, "neuron_group": 32}, "no multiple of neuron_group"),
    ],
)
def test_options_that_do_not_fit_are_named(
    model: pc.Model, data: pc.Data, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(pc.ArgumentError, match=re.escape(words)):
        model.search(data, "2ssp", **options)


def test_options_of_narrowing_are_refused_by_others(model: pc.Model, data: pc.Data) -> None:
    with pytest.raises(pc.ArgumentError, match="sparsity is an option of 2ssp and narrow"):
        model.search(data, "greedy", remove=1, sparsity=0.2)


def test_protected_sublayers_stay_as_they_are(model: pc.Model, data: pc.Data) -> None:
    spared = ["attn.0", "block.11"]
    found = model.search(data, "narrow", sparsity=0.5, rounds=2, protect=spared)
    assert found.mask.keep[[0, 22, 23]].all()
    assert found.provenance["widths"][11] == model.shape.feed_forward_size
    two = model.search(data, "2ssp", sparsity=0.5, remove_attention=4, protect="attn.1")
    assert two.mask.keep[2] == 1


def test_whole_blocks_and_one_width_give_a_plain_checkpoint(
    model: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    found = model.search(data, "narrow", "block", sparsity=0.4, rounds=2, uniform=True)
    keep = found.mask.keep.reshape(-1, 2)
    assert (keep[:, 0] == keep[:, 1]).all()
    with model.edited(found.mask) as narrowed:
        out = narrowed.export(tmp_path / "out", found.mask, format="hf_plain")
    with pc.open(out) as again:
        assert again.evaluate(data).loss == pytest.approx(found.damage, abs=1e-6)


def test_progress_tells_every_step_and_can_stop(model: pc.Model, data: pc.Data) -> None:
    told: list[pc.SearchProgress] = []
    found = model.search(data, "narrow", sparsity=0.2, rounds=2, progress=told.append)
    assert [p.state.steps for p in told] == list(range(1, len(found.path) + 1))
    with pytest.raises(pc.Cancelled):
        model.search(data, "narrow", sparsity=0.2, progress=lambda p: p.state.steps == 2)
    with pytest.raises(pc.Cancelled):
        model.neuron_scores(data, progress=lambda *_: True)


def test_hosts_are_refused() -> None:
    with (
        pc.from_host(NumpyHost(Decoder())) as host,
        pytest.raises(pc.UnsupportedError, match="only models that PruneCore runs itself"),
    ):
        host.neuron_scores(pc.Data([[1, 2, 3]]))
