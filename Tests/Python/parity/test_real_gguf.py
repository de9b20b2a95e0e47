# SPDX-License-Identifier: Apache-2.0
"""SmolLM2 135M in Q4_1, where it was fetched: against transformers, pruned, and written again."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import prunecore as pc
import pytest
from prunecore.export.gguf import export_gguf
from real_models import real_model


@pytest.fixture(scope="module")
def oracle(repository_root: Path) -> ModuleType:
    """What `make verify-models` compares by, too."""
    path = repository_root / "Tests" / "RealModels" / "against_transformers.py"
    spec = importlib.util.spec_from_file_location("against_transformers", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def texts(path: Path, repository_root: Path, length: int, count: int) -> list[np.ndarray]:
    text = (repository_root / "docs" / "metrics.md").read_text()
    return list(pc.Data.from_texts([text], path, length).sequences)[:count]


def test_losses_and_logits_are_those_of_transformers(
    oracle: ModuleType, repository_root: Path
) -> None:
    path = real_model("smollm2")
    found = oracle.compare(path, texts(path, repository_root, 96, 1))
    assert found.of_loss < 1e-5
    assert found.of_largest < 2e-5
    assert 1 < found.ours < 6  # a language model, not noise


def test_blocks_are_pruned_without_new_quantising(repository_root: Path, tmp_path: Path) -> None:
    path = real_model("smollm2")
    with pc.open(path, compute="float32") as model:
        data = pc.Data(texts(path, repository_root, 48, 1))
        mask = pc.Mask.remove(["attn.20", "block.25"], model.shape.n_blocks)
        made = export_gguf(model, tmp_path / "pruned.gguf", mask)
        with pc.open(made.path, compute="float32") as opened:
            np.testing.assert_array_equal(opened.logits(data), model.logits(data, mask))
            assert opened.generate(["The capital of France is"], max_new_tokens=3, temperature=0)
