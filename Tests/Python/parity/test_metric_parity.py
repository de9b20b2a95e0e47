# SPDX-License-Identifier: Apache-2.0
"""Scores are those that NumPy finds, in float64, on the hidden states of transformers.

Static metrics agree to 1e-5. Leave-one-out loss is a difference of two mean losses that each carry
the noise of fp32, so its tolerance has a part that does not shrink with the score.
"""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
import reference_metrics as reference
from oracle import Run, leave_one_out, mean_loss, predicted, predicting
from random_models import masks
from safetensors import safe_open
from subjects import Subject, Subjects

RELATIVE = 1e-5
OWN_STATES = 1e-10
LEAVE_ONE_OUT_RELATIVE = 1e-4
LEAVE_ONE_OUT_LOSS = 5e-6  # nats: two mean losses, each within a few 1e-6 of the oracle's
SUBJECTS = (
    "llama-llama3-float32",
    "llama-biases-bfloat16",
    "mistral-window-float32",
    "qwen3-layer-types-bfloat16",
    "tales-12l",
    "stories260K",
)
GRANULARITIES = ("sublayer", "block", "attention", "feed_forward")
MATRICES = (
    tuple(f"self_attn.{name}_proj" for name in "qkvo"),
    tuple(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


@pytest.fixture(params=["none", "random-1"])
def keep(request: pytest.FixtureRequest, subject: Subject) -> np.ndarray:
    everything = np.ones(2 * subject.n_blocks, dtype=np.uint8)
    return masks(subject.n_blocks).get(request.param, everything)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("tokens", ["all", "last"])
@pytest.mark.parametrize("relative_to", ["input", "output"])
def test_static_metrics_are_those_of_numpy(
    subject: Subject, keep: np.ndarray, granularity: str, tokens: str, relative_to: str
) -> None:
    states = subject.oracle.run(subject.sequences, keep).states
    rows = reference.token_rows(subject.lengths, tokens)
    wanted = reference.scores(states, rows, granularity, relative_to, keep)
    found = subject.model.score(
        subject.data,
        metrics=list(reference.STATIC),
        granularity=granularity,
        relative_to=relative_to,
        tokens=tokens,
        mask=keep,
    )
    for metric in reference.STATIC:
        np.testing.assert_allclose(found[metric], wanted[metric], RELATIVE, err_msg=metric)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_static_metrics_of_its_own_hidden_states(
    subject: Subject, keep: np.ndarray, granularity: str
) -> None:
    """Without the noise of two forward passes the sums themselves show."""
    model, data = subject.model, subject.data
    states = [model.hidden_states(data, u, mask=keep) for u in range(2 * subject.n_blocks + 1)]
    rows = reference.token_rows(subject.lengths, "all")
    wanted = reference.scores(np.stack(states), rows, granularity, keep=keep)
    found = model.score(data, granularity=granularity, mask=keep)
    for metric in reference.STATIC:
        np.testing.assert_allclose(found[metric], wanted[metric], OWN_STATES, err_msg=metric)


@pytest.mark.parametrize("tokens", ["all", "last"])
def test_angular_distance_of_windows(subject: Subject, keep: np.ndarray, tokens: str) -> None:
    states = subject.oracle.run(subject.sequences, keep).states
    wanted = reference.windows(states, reference.token_rows(subject.lengths, tokens))
    statistics = subject.model.statistics(windows=True, tokens=tokens).collect(subject.data, keep)
    np.testing.assert_allclose(statistics.windows(), wanted, RELATIVE, atol=1e-7)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_magnitude_is_that_of_the_weights_in_transformers(
    subject: Subject, granularity: str
) -> None:
    sums = matrix_sums(subject)
    wanted = [sums[list(unit)].sum() for unit in reference.units(granularity, subject.n_blocks)]
    found = subject.model.score(metrics=["magnitude"], granularity=granularity)
    np.testing.assert_allclose(found["magnitude"], wanted, RELATIVE)


def matrix_sums(subject: Subject) -> np.ndarray:
    """Sum of |w| over the matrices of every sublayer, in float64, from the files."""
    sums = {}
    for path in subject.directory.glob("*.safetensors"):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                sums[name] = tensors.get_tensor(name).double().abs().sum().item()
    return np.array(
        [
            sum(sums[f"model.layers.{block}.{matrix}.weight"] for matrix in matrices)
            for block in range(subject.n_blocks)
            for matrices in MATRICES
        ]
    )


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_leave_one_out_is_the_difference_of_losses_in_transformers(
    subject: Subject, keep: np.ndarray, granularity: str
) -> None:
    weights, rows = predicted(subject.lengths), predicting(subject.lengths) > 0

    def loss_increase(whole: Run, less: Run) -> float:
        return mean_loss(less.token_losses, weights) - mean_loss(whole.token_losses, weights)

    def logit_distance(whole: Run, less: Run) -> float:
        difference = whole.logits[rows].astype(np.float64) - less.logits[rows]
        return float(np.sqrt((difference**2).sum(1)).mean())

    units = reference.units(granularity, subject.n_blocks)
    found = subject.model.score(
        subject.data,
        metrics=["leave_one_out_loss", "leave_one_out_logit_l2"],
        granularity=granularity,
        mask=keep,
    )
    question = (subject.oracle, subject.sequences, units)
    np.testing.assert_allclose(
        found["leave_one_out_loss"],
        leave_one_out(*question, loss_increase, keep),
        LEAVE_ONE_OUT_RELATIVE,
        LEAVE_ONE_OUT_LOSS,
    )
    np.testing.assert_allclose(
        found["leave_one_out_logit_l2"],
        leave_one_out(*question, logit_distance, keep),
        LEAVE_ONE_OUT_RELATIVE,
    )


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_a_removed_unit_scores_nothing(subject: Subject, granularity: str) -> None:
    keep = masks(subject.n_blocks)["random-1"]
    keep[2:4] = 0
    units = reference.units(granularity, subject.n_blocks)
    gone = np.array([not keep[list(unit)].any() for unit in units])
    found = subject.model.score(subject.data, metrics="all", granularity=granularity, mask=keep)
    assert gone.any()
    assert not gone.all()
    for metric in pc.METRICS:
        if metric == "magnitude":
            assert (found[metric] > 0).all()
        else:
            assert (found[metric][gone] == 0).all(), metric
            assert (found[metric][~gone] != 0).all(), metric


def test_the_default_is_all_static_metrics_of_sublayers(subject: Subject) -> None:
    named = subject.model.score(
        subject.data, metrics=[*reference.STATIC, "magnitude"], granularity="sublayer"
    )
    default = subject.model.score(subject.data)
    for metric in (*reference.STATIC, "magnitude"):
        assert np.array_equal(default[metric], named[metric])


def test_order_of_the_metrics_does_not_matter(subject: Subject) -> None:
    found = subject.model.score(subject.data, metrics=["relative_l2", "cosine"])
    for metric in ("cosine", "relative_l2"):
        alone = subject.model.score(subject.data, metrics=metric)
        np.testing.assert_allclose(found[metric], alone[metric], 1e-12)
