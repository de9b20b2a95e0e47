# SPDX-License-Identifier: Apache-2.0
"""Blocks whose feed-forward reads what the block was given, with one half of a block removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from family_checks import CAPABILITIES, relative
from family_exports import far
from family_subjects import FamilySubject, FamilySubjects


@pytest.fixture(scope="module", params=["cohere", "neox", "phi", "stablelm-parallel"])
def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> FamilySubject:
    folder: Path = tmp_path_factory.mktemp("parallel")
    return FamilySubjects(folder)(request.param)


def test_a_block_without_attention_reads_nothing_of_the_block_before(
    subject: FamilySubject,
) -> None:
    """Its feed-forward reads the state, not the input of a block whose feed-forward is gone."""
    for removed in (["ffn.0", "attn.1"], ["ffn.1", "attn.2"], ["attn.0", "ffn.1", "attn.2"]):
        mask = pc.Mask.remove(removed, subject.n_blocks)
        wanted = subject.oracle.run(subject.sequences, mask.keep).logits
        found = subject.model.logits(subject.data, mask)
        assert far(found, wanted) <= CAPABILITIES["masks"].tolerance, removed


def test_gradients_through_such_a_block(subject: FamilySubject) -> None:
    keep = np.ones(2 * subject.n_blocks, dtype=np.uint8)
    keep[[1, 2]] = 0
    for place, values in enumerate(subject.oracle.gradient(subject.sequences, keep).values):
        found = subject.model.gradient(subject.data, "ce", place, keep)
        assert relative(found.values, values) <= CAPABILITIES["gradients"].tolerance, place
