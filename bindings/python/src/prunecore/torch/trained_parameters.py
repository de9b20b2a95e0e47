# SPDX-License-Identifier: Apache-2.0
"""The parameters of a PyTorch model that names such as "head" and "last:3" stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.recovery.trained_names import TrainedNames
from prunecore.torch.architectures import Parts
from prunecore.torch.decoder import Decoder


def named_parameters_of(
    decoder: Decoder, parts: Parts | None, trained: TrainedNames
) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by their name in the model, in its order.

    Parameters
    ----------
    decoder : Decoder
        Of the whole model.
    parts : Parts or None
        How its layers are made; None = blocks are trained as a whole.
    trained : TrainedNames
        What is trained. Among all parameters, and among norms, are those of removed sublayers.

    Raises
    ------
    ArgumentError
        The model has nothing that a name stands for.
    UnsupportedError
        Some of it is quantised, so that it has no gradients.
    """
    model: Any = decoder.model
    wanted: set[int] = set()
    for name, found in _wanted(decoder, parts, trained):
        own = {id(parameter) for parameter in found}
        if not own:
            kind = type(model).__name__
            raise ArgumentError(f"train names {name}, of which {kind} has no weights")
        wanted |= own
    chosen = {name: own for name, own in model.named_parameters() if id(own) in wanted}
    for name, own in chosen.items():
        if not own.is_floating_point() or type(own) is not nn.Parameter:
            raise UnsupportedError(
                f"{name} of {type(model).__name__} is quantised ({own.dtype}), so that it cannot "
                "be trained: load the model without quantisation, or train other parts"
            )
    return chosen


def _wanted(
    decoder: Decoder, parts: Parts | None, trained: TrainedNames
) -> Iterator[tuple[str, list[nn.Parameter]]]:
    model: Any = decoder.model
    layers = decoder.blocks
    if trained.everything:
        yield "all", list(model.parameters())
        return
    if trained.head:
        head = model.get_output_embeddings()
        yield "head", [] if head is None else list(head.parameters())
    if trained.embedding:
        yield "embedding", list(model.get_input_embeddings().parameters())
    if trained.final_norm:
        yield "final_norm", _final_norm(decoder)
    by_block: dict[int, set[int]] = {}
    for sublayer in trained.sublayers:
        by_block.setdefault(sublayer // 2, set()).add(sublayer % 2)
    for block, places in by_block.items():
        if len(places) == 2:
            yield f"block.{block}", list(layers[block].parameters())
            continue
        (place,) = places
        name = f"{'ffn' if place else 'attn'}.{block}"
        if parts is None:
            raise ArgumentError(
                f"train names {name}, but blocks of {type(model).__name__} are pruned and trained "
                f"as a whole: name block.{block}"
            )
        modules = [getattr(layers[block], own) for own in parts.of(place).names]
        yield name, [own for module in modules for own in module.parameters()]
    if trained.norms:
        yield "norms", [own for layer in layers for own in _norms(layer)]


def _norms(layer: nn.Module) -> list[nn.Parameter]:
    """The parameters of all norms of a layer, those of queries and keys included."""
    return [
        own
        for module in layer.modules()
        if "norm" in type(module).__name__.lower()
        for own in module.parameters(recurse=False)
    ]


def _final_norm(decoder: Decoder) -> list[nn.Parameter]:
    """What logits depend on between the layers and the head: found out by a gradient."""
    model: Any = decoder.model
    apart = [*decoder.blocks, model.get_output_embeddings(), model.get_input_embeddings()]
    others = {id(own) for module in apart if module is not None for own in module.parameters()}
    # A projection may lie between, too; norms have vectors alone.
    asked = [own for own in model.parameters() if id(own) not in others and own.ndim == 1]
    asked = [own for own in asked if own.is_floating_point()]
    if not asked:
        return []
    before = [own.requires_grad for own in asked]
    try:
        for own in asked:
            own.requires_grad_(True)
        with torch.enable_grad():
            rows = torch.ones(1, int(decoder.config.hidden_size)).to(asked[0])
            logits = decoder.logits(rows)
            if not logits.requires_grad:
                return []
            found = torch.autograd.grad(logits.float().sum(), asked, allow_unused=True)
    finally:
        for own, flag in zip(asked, before, strict=True):
            own.requires_grad_(flag)
    return [own for own, gradient in zip(asked, found, strict=True) if gradient is not None]


class TrainedParameters:
    """Parameters that are trained, in fp32 where the module's own type is narrower.

    Parameters
    ----------
    named : mapping of str to Parameter
        By their names in the model. From now on they require gradients.

    Attributes
    ----------
    names : list of str
    parameters : list of Parameter
        Those of the module, which gradients are taken of.
    masters : list of Tensor
        What an optimiser moves; the parameter itself where that is fp32 already.
    """

    def __init__(self, named: Mapping[str, nn.Parameter]) -> None:
        self.names, self.parameters = list(named), list(named.values())
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        self.masters: list[Tensor] = [
            own if _is_wide(own) else own.detach().float().clone() for own in self.parameters
        ]

    @property
    def count(self) -> int:
        """How many numbers they are."""
        return sum(parameter.numel() for parameter in self.parameters)

    @property
    def is_half(self) -> bool:
        """Whether gradients of one pass through fp16, whose least numbers are not small."""
        return any(parameter.dtype == torch.float16 for parameter in self.parameters)

    def zeros(self) -> list[Tensor]:
        """One like each master."""
        return [torch.zeros_like(own, requires_grad=False) for own in self.masters]

    def copies(self) -> list[Tensor]:
        """The masters as they are now."""
        return [own.detach().clone() for own in self.masters]

    @torch.no_grad()
    def set(self, values: Iterable[Tensor]) -> None:
        """Gives masters and parameters these numbers."""
        for own, value in zip(self.masters, values, strict=True):
            own.copy_(value)
        self.write()

    @torch.no_grad()
    def write(self) -> None:
        """Rounds the masters into the parameters of the module."""
        for parameter, own in zip(self.parameters, self.masters, strict=True):
            if own is not parameter:
                parameter.copy_(own)

    def freeze(self) -> None:
        """The parameters require no gradients any more."""
        for parameter in self.parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


def _is_wide(parameter: nn.Parameter) -> bool:
    return parameter.dtype in (torch.float32, torch.float64)
