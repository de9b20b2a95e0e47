# SPDX-License-Identifier: Apache-2.0
"""Diagnoses: what they say of known models, and of models that give less than all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from numpy_decoder import Decoder, Sizes
from numpy_host import EvaluatingHost, NumpyHost, WholeBlocksHost

PARTS = ("variance", "angular", "gradients", "removals")


@pytest.fixture(scope="module")
def data() -> pc.Data:
    random = np.random.default_rng(5)
    return pc.Data([random.integers(0, 37, size=length) for length in (12, 7, 1, 15)])


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    """Four blocks; those that project nothing onto the residual stream are identities."""
    made = Decoder(seed=3, sizes=Sizes(blocks=4))
    made.weights[2]["o"][:] = 0  # attn.2
    made.weights[2]["down"][:] = 0  # ffn.2
    return made


@pytest.fixture(scope="module")
def found(decoder: Decoder, data: pc.Data) -> Iterator[pc.Diagnosis]:
    with pc.from_host(NumpyHost(decoder)) as model:
        yield model.diagnose(data)


def test_an_identity_is_named_and_no_other_block(found: pc.Diagnosis) -> None:
    verdict = found.verdict()
    assert found.identities == verdict.units == ("block.2",)
    assert verdict.judged == 4 and verdict.nearest is None
    (evidence,) = verdict.identities
    assert evidence.angular == pytest.approx(0, abs=1e-7)
    assert evidence.loss_increase == pytest.approx(0, abs=1e-6)
    assert verdict.sentence.startswith("1 of 4 blocks has become an identity: block.2 (0.000 pi, ")
    assert (
        "less than 0.1 pi and moves the loss by less than 0.02 nats per token" in verdict.sentence
    )
    assert found.verdict("sublayer").units == ("attn.2", "ffn.2")
    assert "2 of 8 sublayers have become identities" in found.verdict("sublayer").sentence


def test_an_identity_changes_neither_state_nor_gradient(found: pc.Diagnosis) -> None:
    assert found.update_variance is not None and found.gradient_change is not None
    assert (found.update_variance == 0).nonzero()[0].tolist() == [4, 5]
    assert found.gradient_change[2] == pytest.approx(0, abs=1e-6)
    assert np.delete(found.gradient_change, 2).min() > 0.05
    assert found.state_variance is not None and found.angular is not None
    assert found.state_variance[4] == found.state_variance[6]
    assert found.angular[1, 1] == pytest.approx(found.angular[0, 1])  # a window over it


def test_a_model_without_an_identity_has_none_and_the_nearest_block_is_said(data: pc.Data) -> None:
    with pc.from_host(NumpyHost(Decoder(seed=3, sizes=Sizes(blocks=4)))) as model:
        verdict = model.diagnose(data, ["angular", "removals"]).verdict()
    assert verdict.identities == () and verdict.nearest is not None
    said = f"None of 4 blocks has become an identity; nearest is {verdict.nearest.unit} ("
    assert verdict.sentence.startswith(said)


def test_bounds_decide_and_may_be_changed_later(found: pc.Diagnosis) -> None:
    assert found.angular is not None and found.loss_increase is not None
    distances, rises = found.angular[0], np.abs(found.loss_increase)
    angular, loss = np.sort(distances)[2] * 1.001, np.sort(rises)[2] * 1.001
    wanted = [f"block.{b}" for b in range(4) if distances[b] < angular and rises[b] < loss]
    verdict = found.verdict(angular_below=angular, loss_below=loss)
    assert list(verdict.units) == wanted and len(wanted) >= 2
    assert verdict.angular == angular and verdict.loss_increase == loss


def test_a_diagnosis_is_saved_and_read_whole(found: pc.Diagnosis, tmp_path: Path) -> None:
    found.save(tmp_path / "d.json")
    read = pc.Diagnosis.load(tmp_path / "d.json")
    assert read.to_dict() == found.to_dict()
    assert read.identities == ("block.2",) and read.angular is not None
    assert np.isnan(read.angular[3, 1]) and np.isnan(read.angular[1, 3])
    assert "NaN" not in (tmp_path / "d.json").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "prunecore.scores"}, "no diagnosis"),
        ({"n_blocks": 0}, '"n_blocks" is 0'),
        ({"angular": [[0.1]]}, '"angular" has the shape'),
        ({"loss_increase": "many"}, "damaged diagnosis"),
        ({"angular_below": -1}, "angular_below is -1"),
        ({"removed": ["attn.9"]}, "attn.9"),
        ({"missing": 3}, "damaged diagnosis"),
    ],
)
def test_a_damaged_diagnosis_is_refused_by_name(
    found: pc.Diagnosis, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps(found.to_dict() | change))
    with pytest.raises(pc.FormatError, match=r"d\.json") as refused:
        pc.Diagnosis.load(path)
    assert words in str(refused.value)


def test_the_same_data_give_the_same_diagnosis(decoder: Decoder, data: pc.Data) -> None:
    with pc.from_host(NumpyHost(decoder)) as model:
        first, second = (model.diagnose(data).to_dict() for _ in range(2))
    assert first == second


class WithoutGradients(NumpyHost):
    vjp = None


class WithoutGradientsOfTheHead(NumpyHost):
    head_vjp = None


class ComparesOnly(NumpyHost):
    read = None
    vjp = None


def test_a_model_without_gradients_gives_the_rest_and_says_so(
    decoder: Decoder, data: pc.Data, found: pc.Diagnosis
) -> None:
    with pc.from_host(WithoutGradients(decoder)) as model:
        made = model.diagnose(data)
    assert made.missing == {"gradients": "this model gives no gradients"}
    assert made.parts == ("variance", "angular", "removals") and made.gradient_norm is None
    np.testing.assert_array_equal(made.state_variance, found.state_variance)
    assert made.identities == ("block.2",)


def test_a_model_whose_head_has_no_gradients_gives_its_variances(
    decoder: Decoder, data: pc.Data, found: pc.Diagnosis
) -> None:
    with pc.from_host(WithoutGradientsOfTheHead(decoder)) as model:
        made = model.diagnose(data)
        assert "head_vjp" in made.missing["gradients"]
        assert made.parts == ("variance", "angular", "removals")
        with pytest.raises(pc.UnsupportedError, match="head_vjp"):
            model.diagnose(data, "gradients")
    np.testing.assert_array_equal(made.update_variance, found.update_variance)


def test_a_model_whose_states_cannot_be_read_is_judged_all_the_same(
    decoder: Decoder, data: pc.Data
) -> None:
    with pc.from_host(ComparesOnly(decoder)) as model:
        made = model.diagnose(data)
    assert "removals" in made.parts and "variance" not in made.parts
    assert "read" in made.missing["variance"]
    assert made.identities == ("block.2",)


def test_a_model_of_whole_blocks_has_no_places_inside_them(
    decoder: Decoder, data: pc.Data, found: pc.Diagnosis
) -> None:
    with pc.from_host(WholeBlocksHost(decoder)) as model:
        made = model.diagnose(data)
    assert made.state_variance is not None and found.state_variance is not None
    np.testing.assert_allclose(made.state_variance[::2], found.state_variance[::2], rtol=1e-6)
    assert np.isnan(made.state_variance[1::2]).all()
    assert made.sublayer_angular is None and made.sublayer_loss_increase is None
    np.testing.assert_allclose(made.loss_increase, found.loss_increase, atol=1e-6)
    np.testing.assert_allclose(made.angular, found.angular, atol=1e-6)
    assert made.identities == ("block.2",) and made.verdict("sublayer").judged == 0
    assert "Nothing can be said of sublayers" in made.verdict("sublayer").sentence
    assert pc.Diagnosis.from_dict(made.to_dict()).to_dict() == made.to_dict()
    for part in made.parts:
        made.plot(kind=part)


def test_a_model_of_losses_alone_is_judged_by_them(decoder: Decoder, data: pc.Data) -> None:
    with pc.from_host(EvaluatingHost(decoder)) as model:
        made = model.diagnose(data)
    assert made.parts == ("removals",) and set(made.missing) == {"variance", "angular", "gradients"}
    assert "losses of whole masks only" in made.missing["gradients"]
    verdict = made.verdict()
    assert verdict.units == ("block.2",) and verdict.angular is None
    assert "An identity moves the loss by less than 0.02 nats" in verdict.sentence
    with (
        pc.from_host(EvaluatingHost(decoder)) as model,
        pytest.raises(pc.UnsupportedError, match="nothing of this model can be measured"),
    ):
        model.diagnose(data, "variance,gradients")


def test_only_the_parts_asked_for_are_measured(decoder: Decoder, data: pc.Data) -> None:
    host = NumpyHost(decoder)
    with pc.from_host(host) as model:
        made = model.diagnose(data, "angular")
        assert made.parts == ("angular",) and made.loss is None
        assert made.missing == dict.fromkeys(set(PARTS) - {"angular"}, "not asked for")
        assert made.verdict().units == ("block.2",) and made.verdict().loss_increase is None
        with pytest.raises(pc.ArgumentError, match="no removals to draw: not asked for"):
            made.plot(kind="removals")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parts": "pulse"}, "no part 'pulse' of a diagnosis: give variance, angular"),
        ({"parts": []}, "parts is empty"),
        ({"parts": 3}, "parts is 3"),
        ({"angular_below": 0}, "angular_below is 0"),
        ({"loss_below": "much"}, "loss_below is 'much'"),
        ({"tokens": "first"}, "first"),
        ({"mask": [1, 0]}, "mask"),
        ({"batch_tokens": 0}, "batch_tokens"),
    ],
)
def test_wrong_arguments_are_refused_by_name(
    decoder: Decoder, data: pc.Data, options: dict[str, Any], words: str
) -> None:
    with (
        pc.from_host(NumpyHost(decoder)) as model,
        pytest.raises(pc.ArgumentError) as refused,
    ):
        model.diagnose(data, **options)
    assert words in str(refused.value)


def test_data_that_predict_nothing_are_refused(decoder: Decoder) -> None:
    with pc.from_host(NumpyHost(decoder)) as model, pytest.raises(pc.DataError, match="predict"):
        model.diagnose(pc.Data([[1], [2]]))


def test_progress_rises_through_the_stages(decoder: Decoder, data: pc.Data) -> None:
    told: dict[str, list[float]] = {}

    def progress(stage: str, done: int, total: int, seconds: float) -> None:
        told.setdefault(stage, []).append(done / total)
        assert seconds >= 0

    with pc.from_host(NumpyHost(decoder)) as model:
        model.diagnose(data, progress=progress)
    assert list(told) == ["angular distances", "variances and gradients", "removals"]
    for shares in told.values():
        assert shares == sorted(shares) and shares[-1] == 1


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_every_stage_can_be_cancelled(decoder: Decoder, data: pc.Data, stage: int) -> None:
    seen: list[str] = []

    def progress(name: str, *_: object) -> bool:
        if name not in seen:
            seen.append(name)
        return len(seen) == stage + 1

    with pc.from_host(NumpyHost(decoder)) as model:
        with pytest.raises(pc.Cancelled):
            model.diagnose(data, progress=progress)
        assert len(seen) == stage + 1 and model.live_states == 0
