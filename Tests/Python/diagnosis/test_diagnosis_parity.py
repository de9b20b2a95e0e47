# SPDX-License-Identifier: Apache-2.0
"""Diagnoses against hooks on transformers, through all doors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from diagnosis_oracle import Reference, mean_loss, reference, without  # noqa: E402
from prunecore.torch import wrap  # noqa: E402
from torch_models import BLOCKS, sequences, tiny  # noqa: E402
from transformers_host import TransformersHost  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

DOORS = ("opened", "from_torch", "wrapped", "from_host")
CLOSE = 2e-4


@pytest.fixture(scope="module")
def module() -> Any:
    return tiny("llama", attention="eager")


@pytest.fixture(scope="module")
def wanted(module: Any) -> Reference:
    return reference(module, sequences())


@pytest.fixture(scope="module")
def data() -> pc.Data:
    return pc.Data(sequences())


@pytest.fixture(scope="module")
def directory(module: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("llama")
    module.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=DOORS)
def found(
    request: pytest.FixtureRequest, module: Any, directory: Path, data: pc.Data
) -> Iterator[pc.Diagnosis]:
    """The diagnosis through one of the doors."""
    made = {
        "opened": lambda: pc.open(directory, compute="float32"),
        "from_torch": lambda: pc.from_torch(module, compute="float32"),
        "wrapped": lambda: wrap(module),
        "from_host": lambda: pc.from_host(TransformersHost(module)),
    }
    with made[request.param]() as model:
        yield model.diagnose(data)


def near(found: np.ndarray | None, wanted: np.ndarray, tolerance: float = CLOSE) -> None:
    """Equal to a part of the largest value."""
    assert found is not None and found.shape == wanted.shape
    bound = tolerance * np.nanmax(np.abs(wanted))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize(
    "name", ["state_variance", "token_variance", "update_variance", "token_update_variance"]
)
def test_variances_are_those_of_hooks(found: pc.Diagnosis, wanted: Reference, name: str) -> None:
    near(getattr(found, name), getattr(wanted, name))


def test_angular_distances_are_those_of_hooks(found: pc.Diagnosis, wanted: Reference) -> None:
    near(found.angular, wanted.angular)
    near(found.sublayer_angular, wanted.sublayer_angular)


def test_gradients_are_those_of_autograd(found: pc.Diagnosis, wanted: Reference) -> None:
    near(found.gradient_norm, wanted.gradient_norm)
    near(found.gradient_change, wanted.gradient_change)


def test_losses_without_units_are_those_of_a_model_without_them(
    found: pc.Diagnosis, wanted: Reference
) -> None:
    assert found.loss == pytest.approx(wanted.loss, abs=1e-5)
    near(found.loss_increase, wanted.loss_increase)
    near(found.sublayer_loss_increase, wanted.sublayer_loss_increase)


def test_taylor_is_that_of_autograd_or_is_said_to_be_missing(
    found: pc.Diagnosis, wanted: Reference
) -> None:
    if found.taylor is None:  # hosts keep their weights to themselves
        assert list(found.missing) == ["taylor"]
        assert "weights" in found.missing["taylor"]
    else:
        assert found.missing == {}
        near(found.taylor, wanted.taylor, 1e-3)


def test_the_native_door_has_all_parts(directory: Path, data: pc.Data, wanted: Reference) -> None:
    with pc.open(directory, compute="float32") as model:
        made = model.diagnose(data, tokens="last")
    assert made.missing == {} and made.parts == ("variance", "angular", "gradients", "removals")
    near(made.angular, wanted.last_angular)


def test_parts_of_the_data_add_up(
    directory: Path, data: pc.Data, wanted: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    # States of 20 tokens of 32 values: sequences of 9, 17, 5, 17, 1 and 12 tokens make 5 parts,
    # and one of them, alone with a single token, would predict nothing.
    monkeypatch.setattr("prunecore.diagnosis.stream._STATE_BYTES", 4 * 32 * 20)
    with pc.open(directory, compute="float32") as model:
        made = model.diagnose(data, ["variance", "gradients"])
    for name in ("state_variance", "token_variance", "update_variance", "gradient_norm"):
        near(getattr(made, name), getattr(wanted, name))
    near(made.gradient_change, wanted.gradient_change)


def test_gradients_count_the_weights_of_tokens(directory: Path, module: Any) -> None:
    ids = sequences((12, 9))
    weights = [np.ones(12), np.zeros(9)]  # the second sequence counts for nothing
    with pc.open(directory, compute="float32") as model:
        made = model.diagnose(pc.Data(ids, weights), "gradients")
    alone = reference(module, ids[:1])
    near(made.gradient_norm, alone.gradient_norm * np.sqrt(12 / 21))
    near(made.gradient_change, alone.gradient_change)


def test_a_mask_is_measured_as_a_model_of_its_own(
    directory: Path, module: Any, data: pc.Data
) -> None:
    gone = ["attn.1", "ffn.2", "attn.3", "ffn.3"]
    with pc.open(directory, compute="float32") as model:
        made = model.diagnose(data, mask=pc.Mask.remove(gone, BLOCKS))
    with without(module, [2, 5, 6, 7]):
        wanted = reference(module, sequences())
    near(made.state_variance, wanted.state_variance)
    near(made.gradient_norm, wanted.gradient_norm)
    assert made.update_variance is not None
    assert np.isnan(made.update_variance).nonzero()[0].tolist() == [2, 5, 6, 7]
    assert made.loss_increase is not None and made.sublayer_loss_increase is not None
    # What is left of block 1 is its feed-forward.
    with without(module, [2, 3, 5, 6, 7]):
        rise = mean_loss(module, sequences()) - wanted.loss
    assert made.loss_increase[1] == pytest.approx(rise, abs=1e-4)
    assert made.sublayer_loss_increase[3] == pytest.approx(rise, abs=1e-4)
    assert np.isnan(made.loss_increase[3]) and "block.3" not in made.identities
    assert made.verdict().judged == 3 and made.verdict("sublayer").judged == 4
