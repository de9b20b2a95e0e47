# SPDX-License-Identifier: Apache-2.0
"""Losses and distances from final norm and head, a few rows of logits at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from prunecore.hosts.host import Distance, HeadObjective
from prunecore.torch.decoder import Decoder

_CPU_LOGITS = 1 << 24
_ACCELERATOR_LOGITS = 1 << 27
"""Logits that stand at one time: 64 MiB of fp32, and 512 MiB where there is more to gain."""


def spans(decoder: Decoder, vocabulary_size: int, n: int) -> Iterator[slice]:
    """Parts of n rows whose logits are made at one time."""
    most = _CPU_LOGITS if decoder.head_device.type == "cpu" else _ACCELERATOR_LOGITS
    step = max(16, most // vocabulary_size)
    for first in range(0, n, step):
        yield slice(first, min(first + step, n))


def token_losses(logits: Tensor, tokens: Tensor) -> Tensor:
    """-log p(token) of each row, in fp32, nats.

    Parameters
    ----------
    logits : Tensor, shape (n, vocabulary_size)
    tokens : Tensor of int64, shape (n,)
    """
    tokens = tokens.to(logits.device)
    losses: Tensor = cross_entropy(logits.float(), tokens, reduction="none")
    return losses


def distances(kind: Distance, logits: Tensor, reference: Tensor) -> Tensor:
    """Distance of each row of logits to that of the reference, in fp32; see `Host.distances`."""
    logits, reference = logits.float(), reference.float().to(logits.device)
    if kind == "l2":
        norms: Tensor = torch.linalg.vector_norm(logits - reference, dim=-1)
        return norms
    found, wanted = log_softmax(logits, -1), log_softmax(reference, -1)
    if kind == "kl":
        return _divergence(wanted, found)
    middle = torch.logaddexp(found, wanted) - math.log(2)
    return (_divergence(wanted, middle) + _divergence(found, middle)) / 2


def objective(
    kind: HeadObjective, logits: Tensor, reference: Tensor | None, tokens: Tensor | None
) -> Tensor:
    """The loss of each row: against its token for "ce", else against the reference's logits."""
    if kind == "ce" and tokens is not None:
        return token_losses(logits, tokens)
    if kind in ("kl", "js") and reference is not None:
        return distances("kl" if kind == "kl" else "js", logits, reference)
    raise ValueError(f"objective '{kind}' needs {'tokens' if kind == 'ce' else 'a reference'}")


def _divergence(of: Tensor, against: Tensor) -> Tensor:
    """KL of log-probabilities; 0 log 0 = 0, for tokens that a model rules out."""
    return torch.where(of == -math.inf, 0.0, of.exp() * (of - against)).sum(-1)
