# SPDX-License-Identifier: Apache-2.0
"""Logits, losses and hidden states are those of transformers, for every checkpoint and mask.

Both compute in fp32 and add in different orders. The tolerances leave room for that alone:
test_oracle.py shows that any part forgotten moves the logits ten times as far.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from oracle import Run, mean_loss, predicted, sequence_perplexity
from random_models import CHECKPOINTS, masks
from subjects import REAL, Subject, Subjects

pytestmark = pytest.mark.kernels

LOGITS = 2e-4  # of the largest logit
STATES = 1e-5  # of the largest value of the state
TOKEN_LOSS = 2e-4  # nats
LOSS = 1e-5  # nats
MASKS = ("none", *masks(1))


@pytest.fixture(params=[*CHECKPOINTS, *REAL])
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


@pytest.fixture(params=MASKS)
def keep(request: pytest.FixtureRequest, subject: Subject) -> np.ndarray | None:
    return None if request.param == "none" else masks(subject.n_blocks)[request.param]


@pytest.fixture
def wanted(subject: Subject, keep: np.ndarray | None) -> Run:
    return subject.oracle.run(subject.sequences, keep)


def test_logits_are_those_of_transformers(
    subject: Subject, keep: np.ndarray | None, wanted: Run
) -> None:
    found = subject.model.logits(subject.data, mask=keep)
    assert found.dtype == np.float32
    assert found.shape == wanted.logits.shape
    assert np.abs(found - wanted.logits).max() <= LOGITS * np.abs(wanted.logits).max()


def test_token_losses_are_those_of_transformers(
    subject: Subject, keep: np.ndarray | None, wanted: Run
) -> None:
    found = subject.model.token_losses(subject.data, mask=keep)
    assert found.shape == wanted.token_losses.shape
    assert np.abs(found - wanted.token_losses).max() <= TOKEN_LOSS
    assert (found[predicted(subject.lengths) == 0] == 0).all()


def test_evaluation_is_that_of_transformers(
    subject: Subject, keep: np.ndarray | None, wanted: Run
) -> None:
    weights = predicted(subject.lengths)
    loss = mean_loss(wanted.token_losses, weights)
    found = subject.model.evaluate(subject.data, mask=keep)
    assert abs(found.loss - loss) <= LOSS
    assert found.perplexity == pytest.approx(np.exp(found.loss), rel=1e-12)
    pooled = sequence_perplexity(wanted.token_losses, weights, subject.lengths)
    assert found.sequence_perplexity == pytest.approx(pooled, rel=10 * LOSS)
    assert found.tokens == weights.sum()


def test_hidden_states_are_those_of_transformers(
    subject: Subject, keep: np.ndarray | None, wanted: Run
) -> None:
    for sublayer, state in enumerate(wanted.states):
        found = subject.model.hidden_states(subject.data, sublayer, mask=keep)
        assert found.shape == state.shape
        assert np.abs(found - state).max() <= STATES * np.abs(state).max(), f"state {sublayer}"


def test_the_models_own_mask_counts_where_none_is_given(subjects: Subjects) -> None:
    subject = subjects("llama-llama3-float32")
    keep = masks(subject.n_blocks)["random-0"]
    wanted = subject.model.logits(subject.data, mask=keep)
    with subject.model.masked(keep):
        assert np.array_equal(subject.model.logits(subject.data), wanted)
    assert not np.array_equal(subject.model.logits(subject.data), wanted)


def test_a_sequence_does_not_see_the_others(subjects: Subjects) -> None:
    subject = subjects("mistral-window-float32")
    together = subject.model.logits(subject.data)
    ends = np.cumsum(subject.lengths)[:-1]
    for ids, rows in zip(subject.sequences, np.split(together, ends), strict=True):
        alone = subject.model.logits(pc.Data([ids]))
        assert np.abs(alone - rows).max() <= LOGITS * np.abs(together).max()


@pytest.mark.parametrize("name", ["llama-biases-float32", "llama-biases-bfloat16"])
@pytest.mark.parametrize("shift", [1, 2])
def test_tensors_may_begin_on_any_byte(
    subjects: Subjects, name: str, shift: int, tmp_path: Path
) -> None:
    subject = subjects(name)
    copy = shutil.copytree(subject.directory, tmp_path / "shifted")
    path = copy / "model.safetensors"
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    length = (end - 8 + shift).to_bytes(8, "little")
    path.write_bytes(length + content[8:end] + b" " * shift + content[end:])
    found = pc.open(copy).logits(subject.data)
    assert np.array_equal(found, subject.model.logits(subject.data))
