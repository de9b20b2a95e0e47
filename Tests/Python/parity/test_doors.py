# SPDX-License-Identifier: Apache-2.0
"""One model through three doors: opened, over the weights of a PyTorch model, run by transformers.

Everything that is measured is the same number. The host runs the layers of transformers in fp32 and
gets its gradients from torch.autograd: nothing of the third door's arithmetic is the library's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import prunecore as pc
import pytest
from subjects import Subject, Subjects
from transformers_host import TransformersHost

CLOSE = 1e-4
TRAINED = 1e-3
DOORS = ("from_torch", "from_host")


@dataclass
class Doors:
    """A model opened, the same through another door, and what both are tried on."""

    opened: pc.Model
    other: pc.Model
    data: pc.Data

    @property
    def both(self) -> tuple[pc.Model, pc.Model]:
        return self.other, self.opened


@pytest.fixture(
    scope="module",
    params=["llama-llama3-float32", "mistral-window-float32", "qwen2-window-float32"],
)
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


@pytest.fixture(scope="module", params=DOORS)
def doors(request: pytest.FixtureRequest, subject: Subject) -> Iterator[Doors]:
    module = subject.oracle.model
    data = pc.Data([ids for ids in subject.sequences if len(ids) < 65])
    opened = pc.open(subject.directory, compute="float32")
    if request.param == "from_host":
        other = pc.from_host(TransformersHost(module))
    else:
        other = pc.from_torch(module, compute="float32")
    with opened, other:
        yield Doors(opened, other, data)
        assert request.param != "from_host" or other.live_states == 0


def near(found: np.ndarray, wanted: np.ndarray, tolerance: float = CLOSE) -> None:
    """Equal to a part of the largest value."""
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def test_metrics_are_the_same_through_every_door(doors: Doors) -> None:
    names = ["cosine", "angular", "l1", "l2", "relative_l1", "relative_l2"]
    for granularity in ("sublayer", "block"):
        found, wanted = (model.score(doors.data, names, granularity) for model in doors.both)
        for name in names:
            near(found[name], wanted[name])


def test_leave_one_out_is_the_same_through_every_door(doors: Doors) -> None:
    names = ["leave_one_out_loss", "leave_one_out_logit_l2"]
    found, wanted = (model.score(doors.data, names) for model in doors.both)
    for name in names:
        near(found[name], wanted[name])


@pytest.mark.parametrize("measure", ["loss", "kl"])
def test_shapley_values_are_the_same_through_every_door(doors: Doors, measure: str) -> None:
    options = {"measure": measure, "estimator": "stratified", "budget": 40, "seed": 3}
    found, wanted = (model.shapley(doors.data, **options) for model in doors.both)
    near(found.values, wanted.values)
    near(found.standard_errors, wanted.standard_errors)


@pytest.mark.parametrize("inputs", ["normed", "raw"])
def test_closed_form_adapters_are_the_same_through_every_door(doors: Doors, inputs: str) -> None:
    mask = np.ones(2 * doors.opened.shape.n_blocks, dtype=np.uint8)
    mask[[1, 4]] = 0
    for kind in pc.ADAPTER_KINDS:
        options = {"kind": kind, "input": inputs, "ridge": 1e-2}
        if kind == "low_rank":
            options["rank"] = 8
        ours, theirs = (model.recover(mask, doors.data, **options) for model in doors.both)
        for sublayer in (1, 4):
            for found, wanted in zip(dense(ours, sublayer), dense(theirs, sublayer), strict=True):
                near(found, wanted)
        near(
            doors.other.evaluate(doors.data, adapters=ours).loss * np.ones(1),
            doors.opened.evaluate(doors.data, adapters=theirs).loss * np.ones(1),
        )


@pytest.mark.parametrize("objective", ["mse", "ce", "kl", "js"])
def test_trained_adapters_are_the_same_through_every_door(doors: Doors, objective: str) -> None:
    mask = np.ones(2 * doors.opened.shape.n_blocks, dtype=np.uint8)
    mask[[2, 5]] = 0
    options = {"objective": objective, "rank": 4, "start": "zero", "steps": 5, "step_tokens": 64}
    options |= {"held_out_share": 0.3, "seed": 1}
    ours, theirs = (model.recover(mask, doors.data, **options) for model in doors.both)
    for sublayer in (2, 5):
        for found, wanted in zip(dense(ours, sublayer), dense(theirs, sublayer), strict=True):
            near(found, wanted, TRAINED)


def dense(adapters: pc.Adapters, sublayer: int) -> tuple[np.ndarray, ...]:
    """Bias and matrix: the factors of a matrix of low rank have signs of their own."""
    parts = adapters.arrays(sublayer)
    if "down" in parts:
        return parts["bias"], parts["up"].astype(np.float64) @ parts["down"]
    return (parts["bias"], parts["matrix"]) if "matrix" in parts else (parts["bias"],)
