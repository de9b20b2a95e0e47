# SPDX-License-Identifier: Apache-2.0
"""With products in bf16, every checkpoint and mask gives what transformers gives in fp32, nearly.

Rounding moves the logits by 0.5 to 1.6 % of their size. A window or a rotary setting that an engine
forgets moves them by 10 % and more.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import prunecore as pc
import pytest
from oracle import Run
from random_models import CHECKPOINTS, masks
from subjects import REAL, Subject, Subjects

LOGITS = 0.025  # root mean square of the error, of that of the logits
TOKEN_LOSS = 0.08  # nats, on average
MASKS = ("none", *masks(1))

pytestmark = pytest.mark.skipif(
    not pc.runtime_info().bf16_kernels, reason="the CPU has no bf16 products"
)


@pytest.fixture(params=[*CHECKPOINTS, *REAL])
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


@pytest.fixture(params=MASKS)
def keep(request: pytest.FixtureRequest, subject: Subject) -> np.ndarray | None:
    return None if request.param == "none" else masks(subject.n_blocks)[request.param]


@pytest.fixture
def model(subject: Subject) -> Iterator[pc.Model]:
    with pc.open(subject.directory, compute="bfloat16") as opened:
        yield opened


def test_bfloat16_logits_and_losses_are_near_those_of_transformers(
    subject: Subject, model: pc.Model, keep: np.ndarray | None
) -> None:
    wanted: Run = subject.oracle.run(subject.sequences, keep)
    found = model.logits(subject.data, mask=keep)
    error = np.square(found - wanted.logits).mean() / np.square(wanted.logits).mean()
    assert 0 < np.sqrt(error) <= LOGITS
    losses = model.token_losses(subject.data, mask=keep)
    assert np.abs(losses - wanted.token_losses).mean() <= TOKEN_LOSS


def test_a_sequence_does_not_depend_on_the_others(subject: Subject, model: pc.Model) -> None:
    together = model.token_losses(subject.data)
    first = 0
    for sequence in subject.sequences:
        alone = model.token_losses(pc.Data([sequence]))
        assert (alone == together[first : first + len(sequence)]).all()
        first += len(sequence)
