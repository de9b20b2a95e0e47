# SPDX-License-Identifier: Apache-2.0
"""Training of weights that were kept, in PyTorch: as somebody would write it, and by our door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

LEARNING_RATE = 1e-5


class PlainHealing:
    """A Llama without its last blocks, of which head, final norm and some blocks are trained.

    Weights are in fp32, as masters must be; with `autocast`, products are in bf16.
    """

    def __init__(self, model: Any, removed: int, last: int, autocast: bool) -> None:
        self.model, self.autocast = model, autocast
        self.whole, kept = model.model.layers, len(model.model.layers) - removed
        model.model.layers = self.whole[:kept]
        model.requires_grad_(False)
        modules = [model.lm_head, model.model.norm, *model.model.layers[-last:]]
        parameters = [own for module in modules for own in module.parameters()]
        for own in parameters:
            own.requires_grad_(True)
        self.parameters = parameters
        self.optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)

    def step(self, ids: torch.Tensor) -> float:
        """One step on a batch of sequences; gives the loss before it."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            logits = self.model(ids, use_cache=False).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), ids[:, 1:].flatten()
        )
        self.optimiser.zero_grad()
        losses.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        return losses.item()


def wrapped_steps(
    model: Any, ids: np.ndarray, removed: int, train: Sequence[str], steps: int
) -> dict[str, Any]:
    """The same steps by prunecore.torch: seconds of each but the first, and its loss."""
    # Here, so that no other measurement has the library in its process.
    from prunecore.torch import wrap

    from benchmarks.harness.healing_steps import timed

    with wrap(model, known_causal=True) as wrapped:
        return timed(wrapped, ids, removed, train, steps)
