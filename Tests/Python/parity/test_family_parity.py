# SPDX-License-Identifier: Apache-2.0
"""Every family computes what transformers computes, in each thing that a model is used for.

A capability that the library refuses is an error here unless family_refusals names the reason.
"""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
from family_case import TRAINED_CONTEXT
from family_checks import CAPABILITIES, losses_as_written
from family_models import CASES
from family_refusals import check
from family_subjects import FamilySubject, FamilySubjects

# The rotary angles of all tokens change while these write.
GROWING = [name for name in CASES if "longrope" in name or "partial" in name]


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> FamilySubjects:
    return FamilySubjects(tmp_path_factory.mktemp("families"))


@pytest.fixture(params=CASES)
def subject(request: pytest.FixtureRequest, families: FamilySubjects) -> FamilySubject:
    return families(request.param)


def test_logits(subject: FamilySubject) -> None:
    check(subject, "logits")


def test_logits_under_masks(subject: FamilySubject) -> None:
    check(subject, "masks")


def test_mean_loss(subject: FamilySubject) -> None:
    check(subject, "loss")


def test_hidden_states(subject: FamilySubject) -> None:
    check(subject, "states")


def test_generation_over_the_cache(subject: FamilySubject) -> None:
    check(subject, "generation")


@pytest.mark.parametrize("name", GROWING)
def test_generation_beyond_the_context_of_training(name: str, families: FamilySubjects) -> None:
    subject = families(name)
    prompt = subject.sequences[1][: TRAINED_CONTEXT - 3]
    made = subject.model.generate(pc.Data([prompt]), 6, stop_at_eos=False)
    wanted, _ = subject.oracle.greedy(prompt, 6)
    assert made.tokens[0].tolist() == wanted.tolist()
    apart = np.abs(made.losses[0] - losses_as_written(subject, prompt, wanted)).max()
    assert apart <= CAPABILITIES["generation"].tolerance


def test_gradients(subject: FamilySubject) -> None:
    check(subject, "gradients")


def test_adapters_in_closed_form(subject: FamilySubject) -> None:
    check(subject, "closed_form")


def test_export_as_a_smaller_model_of_the_family(subject: FamilySubject) -> None:
    check(subject, "hf_plain")


def test_export_with_a_modelling_file(subject: FamilySubject) -> None:
    check(subject, "hf_custom")


def test_export_as_deci(subject: FamilySubject) -> None:
    check(subject, "deci")


def test_export_as_gguf(subject: FamilySubject) -> None:
    check(subject, "gguf")


@pytest.mark.skipif(not pc.runtime_info().bf16_kernels, reason="the CPU has no bf16 products")
def test_products_in_bfloat16(subject: FamilySubject) -> None:
    check(subject, "bf16")
