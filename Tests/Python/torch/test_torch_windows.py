# SPDX-License-Identifier: Apache-2.0
"""Windows of a wrapped model chosen by a task, against transformers window by window."""

from __future__ import annotations

from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from prunecore.torch import wrap  # noqa: E402
from torch_models import BLOCKS, VOCABULARY, skipping_blocks, tiny  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def choices() -> tuple[list[np.ndarray], list[list[np.ndarray]], list[int]]:
    """Contexts, candidates of one to three tokens, and which one is right."""
    random = np.random.default_rng(8)
    contexts = [random.integers(0, VOCABULARY, n) for n in (5, 9, 3, 7)]
    candidates = [
        [random.integers(0, VOCABULARY, n) for n in random.integers(1, 4, 3)] for _ in contexts
    ]
    return contexts, candidates, [0, 2, 1, 1]


def choice_loss(module: Any, keep: Any) -> float:
    """-log softmax over the mean log-likelihoods of the candidates, at the right one."""
    losses = []
    contexts, candidates, answers = choices()
    with skipping_blocks(module, keep), torch.no_grad():
        for context, rows, answer in zip(contexts, candidates, answers, strict=True):
            scores = []
            for row in rows:
                ids = torch.from_numpy(np.concatenate([context, row]))
                logs = module(ids[None], use_cache=False).logits[0].float().log_softmax(-1)
                places = range(len(context) - 1, len(ids) - 1)
                scores.append(np.mean([float(logs[p, ids[p + 1]]) for p in places]))
            losses.append(float(-torch.tensor(scores).log_softmax(-1)[answer]))
    return float(np.mean(losses))


@pytest.mark.parametrize("length", [1, 2])
def test_the_window_with_the_least_choice_loss_goes(length: int) -> None:
    module = tiny("llama")
    masks = [
        pc.Mask.remove([f"block.{first + own}" for own in range(length)], BLOCKS)
        for first in range(BLOCKS - length + 1)
    ]
    values = [choice_loss(module, mask.keep) for mask in masks]
    contexts, candidates, answers = choices()
    data = pc.ChoiceData(contexts, candidates, answers, "mean")
    with wrap(module) as model:
        found = model.search(data, "window", "block", remove=length, measure="choice_loss")
    assert found.mask == masks[int(np.argmin(values))]
    assert found.damage == pytest.approx(min(values), rel=1e-5)
