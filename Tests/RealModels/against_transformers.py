# SPDX-License-Identifier: Apache-2.0
"""A GGUF model in PruneCore and in transformers, which dequantises it: both in fp32."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import prunecore as pc
import torch
from transformers import AutoModelForCausalLM


@dataclass(frozen=True)
class Comparison:
    """What differs between the two.

    Attributes
    ----------
    ours, theirs : float
        Mean losses of all predicted tokens, in nats.
    largest : float
        Largest difference of two logits.
    of_largest : float
        The same, of the largest logit.
    """

    ours: float
    theirs: float
    largest: float
    of_largest: float

    @property
    def of_loss(self) -> float:
        """The difference of the losses, of theirs."""
        return abs(self.ours - self.theirs) / self.theirs


def compare(path: Path, rows: list[np.ndarray]) -> Comparison:
    """Runs sequences of tokens through both."""
    theirs = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    model = pc.open(path, compute="float32")
    losses, largest, most = [], 0.0, 0.0
    for row in rows:
        with torch.no_grad():
            logits = theirs(torch.tensor(row)[None].long()).logits[0]
        predicted = torch.tensor(row[1:]).long()
        losses.append(torch.nn.functional.cross_entropy(logits[:-1].double(), predicted).item())
        ours = model.logits(pc.Data([row]))
        largest = max(largest, float(np.abs(ours - logits.numpy()).max()))
        most = max(most, float(logits.abs().max()))
    own = model.evaluate(pc.Data(rows)).loss
    return Comparison(own, float(np.mean(losses)), largest, largest / most)
