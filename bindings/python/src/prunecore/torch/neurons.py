# SPDX-License-Identifier: Apache-2.0
"""Scores of neurons of a model that PyTorch runs, by hooks before the last product."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from prunecore._native.progress import ProgressFunction
from prunecore.data.data import Data
from prunecore.errors import Cancelled, NonFiniteError, UnsupportedError
from prunecore.importance.neuron_scores import NeuronScores
from prunecore.masks.mask import Keep
from prunecore.torch.host import TorchHost

LAST_PRODUCTS = ("down_proj", "fc2", "c_proj", "dense_4h_to_h")
"""What the modules of dense feed-forwards call their last product."""


class _Row(NamedTuple):
    norm: npt.NDArray[np.float64]
    contribution: npt.NDArray[np.float64]


def last_product(layer: nn.Module, modules: tuple[str, ...], block: int) -> nn.Module:
    """The module that multiplies the neurons of a decoder layer.

    Raises
    ------
    UnsupportedError
        There is none by a known name, or several, as experts have.
    """
    found = [
        module
        for own in modules
        for name, module in [
            (own, getattr(layer, own)),
            *getattr(layer, own).named_modules(prefix=own),
        ]
        if name.rpartition(".")[2] in LAST_PRODUCTS
    ]
    unique: list[nn.Module] = list({id(module): module for module in found}.values())
    if len(unique) != 1 or _columns(unique[0]) is None:
        raise UnsupportedError(
            f"the feed-forward of block {block} has {len(unique) or 'no'} module that multiplies "
            "its neurons by a matrix: only dense feed-forwards have scores of neurons"
        )
    return unique[0]


def neuron_scores_of(
    host: TorchHost,
    data: Data,
    keep: Keep,
    provenance: dict[str, Any],
    progress: ProgressFunction | None,
) -> NeuronScores:
    """Scores of the module as it runs now, by one forward pass over each sequence.

    Parameters
    ----------
    keep : array of 0 and 1
        What the module has now: a mask is applied to it where something is removed.
    """
    if host.parts is None:
        raise UnsupportedError("the model is run by whole blocks, whose neurons are not known")
    host.decoder.check_evaluating()
    names = host.parts.feed_forward.modules
    products = {
        block: last_product(layer, names, block)
        for block, layer in enumerate(host.layers)
        if keep[2 * block + 1]
    }
    norms = {block: _zeros(product) for block, product in products.items()}
    squares = {block: _zeros(product) for block, product in products.items()}

    def add(block: int, values: Tensor) -> None:
        own = values.detach().reshape(-1, values.shape[-1]).double().square().sum(0).cpu().numpy()
        squares[block] += own
        norms[block] += np.sqrt(own)

    began = time.monotonic()
    with torch.no_grad(), _hooked(products, add):
        for number, sequence in enumerate(data.sequences):
            host.decoder.own_logits(sequence)
            passed = time.monotonic() - began
            if progress and progress("score neurons", number + 1, data.n_sequences, passed):
                raise Cancelled("cancelled while neurons were scored")
    rows = [_Row(np.empty(0), np.empty(0)) for _ in range(host.n_blocks)]
    for block, product in products.items():
        if not np.all(np.isfinite(squares[block])):
            raise NonFiniteError(f"a neuron of block {block} is not finite; check its weights")
        reach = _reach(product)
        root_mean_square = np.sqrt(squares[block] / data.n_tokens)
        rows[block] = _Row(norms[block] / data.n_sequences, root_mean_square * reach)
    return NeuronScores([row.norm for row in rows], [row.contribution for row in rows], provenance)


@contextmanager
def _hooked(products: dict[int, nn.Module], add: Callable[[int, Tensor], None]) -> Iterator[None]:
    hooks = [
        product.register_forward_pre_hook(
            lambda _module, inputs, block=block: add(block, inputs[0])
        )
        for block, product in products.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _columns(module: nn.Module) -> tuple[Tensor, int] | None:
    """The matrix of a product, and the dimension of its outputs; None if it has none."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        return None
    # GPT-2 stores inputs as rows.
    return weight, 1 if type(module).__name__ == "Conv1D" else 0


def _zeros(module: nn.Module) -> npt.NDArray[np.float64]:
    weight, dimension = _columns(module) or (torch.empty(0, 0), 0)
    return np.zeros(weight.shape[1 - dimension])


def _reach(module: nn.Module) -> npt.NDArray[np.float64]:
    """The L2 norm of what each neuron is multiplied by."""
    weight, dimension = _columns(module) or (torch.empty(0, 0), 0)
    norms = weight.detach().double().square().sum(dimension).sqrt()
    made: npt.NDArray[np.float64] = norms.cpu().numpy()
    return made
