# SPDX-License-Identifier: Apache-2.0
"""Training of chosen weights as one writes it with PyTorch and transformers alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch_models import skipping


class PlainHealing:
    """A copy of a model, frozen but for parameters whose names a function picks, and AdamW.

    Sublayers are left out by hooks that make their updates zero.
    """

    def __init__(
        self,
        module: Any,
        name: str,
        keep: Any,
        is_trained: Callable[[str], bool],
        *,
        weight_decay: float = 0.0,
        clip_norm: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.module, self.name, self.keep = copy.deepcopy(module), name, keep
        self.clip_norm = clip_norm
        self.trained = {}
        for own, parameter in self.module.named_parameters():
            parameter.requires_grad_(is_trained(own))
            if is_trained(own):
                self.trained[own] = parameter
        # AdamW moves numbers in fp32 whatever the module's own type is.
        self.masters = {own: p.detach().to(dtype).clone() for own, p in self.trained.items()}
        groups = [
            {
                "params": [m for m in self.masters.values() if m.ndim >= 2],
                "weight_decay": weight_decay,
            },
            {"params": [m for m in self.masters.values() if m.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)

    def loss(
        self,
        sequences: Sequence[Any],
        weights: Sequence[Any] | None = None,
        teacher: Any = None,
    ) -> torch.Tensor:
        """The weighted mean over all tokens that are predicted, a sequence at a time."""
        total, count = torch.zeros((), dtype=torch.float64), 0.0
        with skipping(self.module, self.name, self.keep):
            for index, ids in enumerate(sequences):
                row = torch.from_numpy(np.asarray(ids, dtype=np.int64))[None]
                own = torch.ones(len(ids)) if weights is None else torch.tensor(weights[index])
                logits = self.module(row, use_cache=False).logits[0, :-1].float()
                if teacher is None:
                    losses = cross_entropy(logits, row[0, 1:], reduction="none")
                else:
                    with torch.no_grad():
                        wanted = teacher(row, use_cache=False).logits[0, :-1].float()
                    found, wanted = log_softmax(logits, -1), log_softmax(wanted, -1)
                    losses = kl_div(found, wanted, log_target=True, reduction="none").sum(-1)
                total = total + (losses.double() * own[1:]).sum()
                count += float(own[1:].sum())
        return total / count

    def step(self, rate: float, *batch: Any, **more: Any) -> float:
        """One step; gives the loss before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss = self.loss(*batch, **more)
        for parameter in self.trained.values():
            parameter.grad = None
        loss.backward()
        for own, parameter in self.trained.items():
            self.masters[own].grad = parameter.grad.to(self.masters[own].dtype)
        torch.nn.utils.clip_grad_norm_(list(self.masters.values()), self.clip_norm)
        self.optimiser.step()
        with torch.no_grad():
            for own, parameter in self.trained.items():
                parameter.copy_(self.masters[own])
        return float(loss.detach())
