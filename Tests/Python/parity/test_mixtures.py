# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts lose their attention and win it back in closed form, and cost what they do.

A mixture is the feed-forward of its block: attention and mixture are removed apart. That both are
computed as transformers does is what test_family_parity.py shows.
"""

from __future__ import annotations

import numpy as np
import prunecore as pc
import pytest
from family_models import CASES
from family_subjects import FamilySubject, FamilySubjects


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> FamilySubjects:
    return FamilySubjects(tmp_path_factory.mktemp("mixtures"))


@pytest.fixture(params=["mixtral", "qwen3-moe", "gpt-oss"])
def subject(request: pytest.FixtureRequest, families: FamilySubjects) -> FamilySubject:
    return families(request.param)


def test_all_attention_is_recovered_in_closed_form(subject: FamilySubject) -> None:
    model, data = subject.model, subject.data
    whole = model.logits(data)
    blocks = model.shape.n_blocks
    for block in range(blocks):
        mask = pc.Mask.remove([f"attn.{block}"], blocks)
        bare = np.square(model.logits(data, mask=mask) - whole).mean()
        adapters = pc.Moments(model, mask, kind="linear").collect(data).solve(ridge=1e-3)
        with adapters.attach(model) as recovered:
            healed = np.square(recovered.logits(data) - whole).mean()
        assert healed < bare


def test_costs_count_what_is_stored_and_what_a_token_meets(subject: FamilySubject) -> None:
    config = subject.oracle.model.config
    experts = config.num_local_experts
    whole = subject.model.cost()
    tensors = subject.oracle.model.state_dict()
    assert whole.parameters == sum(own.numel() for own in tensors.values())
    of_experts = sum(own.numel() for name, own in tensors.items() if ".experts." in name)
    idle = of_experts * (experts - config.num_experts_per_tok) // experts
    assert whole.active_parameters == whole.parameters - idle
    # Attention has no experts; a mixture that is gone has none that are idle.
    blocks = subject.model.shape.n_blocks
    attention = subject.model.cost(pc.Mask.remove(["attn.0"], blocks))
    mixture = subject.model.cost(pc.Mask.remove(["ffn.0"], blocks))
    assert attention.parameters - attention.active_parameters == idle
    assert mixture.parameters - mixture.active_parameters == idle - idle // blocks


def test_a_search_removes_attention_and_mixtures_apart(subject: FamilySubject) -> None:
    found = subject.model.search(subject.data, "greedy", "sublayer", remove=2)
    assert len(found.mask.removed) == 2
    assert subject.name in CASES
