# SPDX-License-Identifier: Apache-2.0
"""Whether the tokens of a PyTorch model see those before them alone: found out on a few tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from prunecore.errors import UnsupportedError
from prunecore.torch.decoder import Decoder

_LENGTH = 16
_TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-5, torch.float16: 1e-2}
_COARSE = 4e-2
"""Of bf16, relative to the largest logit: where rounding falls out otherwise, in experts that
compute more tokens or fewer, it grows from layer to layer. What is less is looked at closely."""

Ids = npt.NDArray[np.int32]


class Probe:
    """Sequences that begin alike and go on differently.

    Parameters
    ----------
    decoder : Decoder
        Whose vocabulary they are of, and whose context they fit into.

    Attributes
    ----------
    whole : array of int32, shape (n,)
    others : list of (int, array of int32, shape (n,))
        How many tokens are those of `whole`, and a sequence that differs at every place from there.
    """

    def __init__(self, decoder: Decoder) -> None:
        context = int(getattr(decoder.config, "max_position_embeddings", None) or 0)
        length = min(context, _LENGTH) if context > 0 else _LENGTH
        random = np.random.default_rng(20)
        vocabulary = decoder.vocabulary
        self.whole: Ids = random.integers(0, vocabulary, length, dtype=np.int32)
        self.others: list[tuple[int, Ids]] = []
        for prefix in sorted({1, length // 2} - {0, length}) if vocabulary > 1 else ():
            shift = random.integers(1, vocabulary, length, dtype=np.int32)
            shift[:prefix] = 0
            self.others.append((prefix, (self.whole + shift) % vocabulary))

    @property
    def neighbour(self) -> Ids:
        """A sequence to be computed beside the whole one: of other tokens, and shorter."""
        given = self.others[-1][1] if self.others else self.whole
        return given[: max(1, len(given) * 3 // 4)]


def check_causality(decoder: Decoder, probe: Probe, logits: Tensor) -> None:
    """Raises `UnsupportedError` if tokens of the model see later ones.

    Sequences of one length are computed alike, so that the first logits are the same to the bit
    where nothing sees behind them. Where they are not quite, because experts compute other numbers
    of tokens, gradients tell: those of what is not looked at are zeros.

    Parameters
    ----------
    logits : Tensor, shape (n, vocabulary_size)
        The model's own, of the probe's whole sequence.
    """
    wanted = logits.float()
    largest = float(wanted.abs().max())
    tolerance = _TOLERANCES.get(logits.dtype, _COARSE) * largest
    for prefix, tokens in probe.others:
        found = decoder.own_logits(tokens).float()
        difference = float((found[:prefix] - wanted[:prefix]).abs().max())
        if difference > tolerance or (difference > 0 and _looks_ahead(decoder, tokens, prefix)):
            which = "token" if prefix == 1 else f"{prefix} tokens"
            raise UnsupportedError(
                f"{type(decoder.model).__name__} is no causal language model: its logits of the "
                f"first {which} of a sequence change by {difference:.2g} with the tokens behind "
                "(known_causal=True skips this test)"
            )


def _looks_ahead(decoder: Decoder, tokens: Ids, prefix: int) -> bool:
    """Whether logits of the first tokens have a gradient with respect to later ones."""
    embedded: list[Tensor] = []

    def watch(_module: Any, _inputs: Any, output: Any) -> Any:
        shapes = ((1, len(tokens)), (len(tokens), 1))  # some models have the tokens first
        if embedded or not isinstance(output, Tensor) or output.shape[:2] not in shapes:
            return output
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    hook = decoder.model.get_input_embeddings().register_forward_hook(watch)
    try:
        with torch.enable_grad():
            logits = decoder.own_logits(tokens)[:prefix].float()
            (gradient,) = torch.autograd.grad((logits * logits).sum(), embedded)
    except (RuntimeError, NotImplementedError):  # modules through which no gradient flows
        return False
    finally:
        hook.remove()
    return bool(gradient.reshape(len(tokens), -1)[prefix:].any())
