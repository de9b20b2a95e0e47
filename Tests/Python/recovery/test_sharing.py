# SPDX-License-Identifier: Apache-2.0
"""The analysis of sharing, against singular values from NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import prunecore as pc
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from sharing_models import checkpoint, normed, sequences, stored

ERRORS = (0.6, 0.2)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("sharing") / "llama")


@pytest.fixture(scope="module")
def llama(directory: Path) -> pc.Model:
    return pc.open(directory)


def needed(singular: np.ndarray, whole: float, error: float) -> int:
    """The least rank whose tail is small enough."""
    tails = [np.sqrt(np.sum(singular[rank:] ** 2)) / whole for rank in range(len(singular) + 1)]
    return next(rank for rank, tail in enumerate(tails) if tail <= error)


def test_every_pair_needs_the_rank_that_its_singular_values_say(
    llama: pc.Model, directory: Path
) -> None:
    found = llama.sharing(error=ERRORS)
    assert len(found) == 2 * 6 * 7 // 2 * len(ERRORS)
    assert not found.is_weighted and np.isnan(found.weighted_difference).all()
    tensors = stored(directory)
    modules = {"query": "self_attn.q_proj", "value": "self_attn.v_proj", "down": "mlp.down_proj"}
    checked = 0
    for row in range(len(found)):
        if (module := modules.get(str(found.projection[row]))) is None:
            continue
        own, base = (
            tensors[f"model.layers.{index // 2}.{module}.weight"]
            for index in (found.sublayer[row], found.base[row])
        )
        singular = np.linalg.svd(own - base, compute_uv=False)
        whole = float(np.linalg.norm(own))
        assert found.difference[row] == pytest.approx(np.linalg.norm(own - base) / whole)
        assert found.rank[row] == needed(singular, whole, found.error[row])
        checked += 1
    assert checked == 6 * 3 * len(ERRORS)


def test_with_data_ranks_are_those_that_outputs_need(llama: pc.Model, directory: Path) -> None:
    data = sequences()
    found = llama.sharing(data, ERRORS[1])
    tensors = stored(directory)
    x = normed(llama, data, 7, tensors["model.layers.3.post_attention_layernorm.weight"])
    moments = x.T @ x / len(x)
    damped = moments + 1e-3 * np.trace(moments) / len(moments) * np.eye(len(moments))
    root = np.linalg.cholesky(damped)
    own, base = (tensors[f"model.layers.{block}.mlp.gate_proj.weight"] for block in (3, 0))
    singular = np.linalg.svd((own - base) @ root, compute_uv=False)
    whole = float(np.linalg.norm(own @ root))
    row = np.flatnonzero(
        (found.sublayer == 7) & (found.base == 1) & (found.projection == "gate")
    ).item()
    assert found.weighted_rank[row] == needed(singular, whole, ERRORS[1])
    assert found.weighted_difference[row] == pytest.approx(np.linalg.norm(singular) / whole)
    assert found.ranks("feed_forward", "gate")[3, 0] == found.weighted_rank[row]


def test_reach_bounds_the_distance_of_pairs(llama: pc.Model) -> None:
    found = llama.sharing(reach=1)
    assert set((found.sublayer - found.base).tolist()) == {2}


def test_the_table_has_the_cheapest_pairs_first(llama: pc.Model) -> None:
    rows = llama.sharing(error=0.5).table()
    assert [row["share"] for row in rows] == sorted(row["share"] for row in rows)
    assert len(rows) == 2 * 6 and all(row["bytes"] >= 0 for row in rows)


def test_an_analysis_is_saved_and_loaded(llama: pc.Model, tmp_path: Path) -> None:
    found = llama.sharing(error=ERRORS)
    found.save(tmp_path / "sharing.json")
    again = pc.SharingAnalysis.load(tmp_path / "sharing.json")
    assert again.to_dict() == found.to_dict()
    (tmp_path / "sharing.json").write_text('{"format": "prunecore.sharing_analysis", "version": 1}')
    with pytest.raises(pc.FormatError, match="the field 'sublayer' is missing"):
        pc.SharingAnalysis.load(tmp_path / "sharing.json")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"error": 0}, "error is 0"),
        ({"error": []}, "error is empty"),
        ({"reach": 0}, "reach is 0"),
    ],
)
def test_options_out_of_range_are_refused(llama: pc.Model, options: dict, text: str) -> None:
    with pytest.raises(pc.ArgumentError, match=text):
        llama.sharing(**options)
