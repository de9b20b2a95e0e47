# SPDX-License-Identifier: Apache-2.0
"""Taking sublayers out of a PyTorch model, in place, and putting them back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from torch import Tensor, nn

from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.masks.mask import Keep
from prunecore.torch.adapter_module import AdapterModule
from prunecore.torch.architectures import Parts
from prunecore.torch.block_description import ADAPTER_NAMES
from prunecore.torch.custom_model import save_pruned
from prunecore.torch.decoder import Decoder
from prunecore.torch.layer_numbers import LayerNumbers
from prunecore.torch.stand_ins import StandIn
from prunecore.torch.sublayers import attention, feed_forward, left_behind

if TYPE_CHECKING:
    from typing_extensions import Self


_MISSING = object()

_pruned: WeakSet[nn.Module] = WeakSet()
"""Models that lack sublayers now, also where another wrap of the same model took them out."""


def check_whole(model: nn.Module) -> None:
    """Raises `ArgumentError` if a mask is applied to a model."""
    if model in _pruned:
        raise ArgumentError("a mask is applied to the PyTorch model: call restore() first")


class Pruning:
    """Sublayers taken out of a model, until `restore`.

    Blocks of which nothing is left drop out of the list of layers; those that norm sums leave their
    norms. A layer that lacks one sublayer stays the object that it is, without the modules of that
    sublayer, and runs what is left of it.
    What is left is numbered anew, so that a key-value cache has no entry for a removed attention.
    The class's own `save_pretrained` would write a directory that loads with random weights; in its
    place stands `save_pruned`.

    Parameters
    ----------
    decoder : Decoder
        Of the model.
    parts : Parts or None
        How its layers are made; None = whole blocks.
    keep : array of 0 and 1, shape (2 * n_blocks,)
        1 = kept.
    adapters : mapping of int to AdapterModule, optional
        By removed sublayer: what to put in its place.

    Attributes
    ----------
    decoder, parts, keep, adapters
        As given.
    config : PreTrainedConfig
        The configuration of the whole model: a copy.
    blocks : list of int
        Numbers of the layers that are in the list of layers now.

    Raises
    ------
    ArgumentError
        A mask is applied already; or an adapter is for a sublayer that is kept.
    UnsupportedError
        One sublayer of a block is removed, but how its layers are made is not known. The model is
        as it was.
    """

    def __init__(
        self,
        decoder: Decoder,
        parts: Parts | None,
        keep: Keep,
        adapters: Mapping[int, AdapterModule] | None = None,
    ) -> None:
        check_whole(decoder.model)
        adapters = adapters or {}
        layers = decoder.blocks
        self.decoder, self.parts, self.keep, self.adapters = decoder, parts, keep, adapters
        self.config = copy.deepcopy(decoder.model.config)
        if parts is None and any(keep[2 * b] != keep[2 * b + 1] for b in range(len(layers))):
            raise UnsupportedError(
                f"how the layers of {type(decoder.model).__name__} are made is not known: a mask "
                "keeps or removes both sublayers of a block"
            )
        if standing := [index for index in adapters if keep[index]]:
            raise ArgumentError(f"an adapter is for sublayer {standing[0]}, which the mask keeps")
        self._undo: list[Callable[[], None]] = [lambda: _pruned.discard(decoder.model)]
        _pruned.add(decoder.model)
        leaves_norms = parts is not None and parts.norm_sums
        try:
            kept = []
            for block, layer in enumerate(layers):
                own = [adapters.get(2 * block), adapters.get(2 * block + 1)]
                whole = bool(keep[2 * block]), bool(keep[2 * block + 1])
                if any(whole) or any(own) or leaves_norms:
                    kept.append(block)
                if not all(whole) and block in kept:
                    self._replace(decoder, parts, layer, whole, own)
            self._shorten(decoder.layers, kept)
            self.blocks = kept
            attending = [block for block in kept if keep[2 * block]]
            self._undo.append(LayerNumbers(decoder, layers, kept, attending).restore)
            own = vars(decoder.model)
            before = own.get("save_pretrained", _MISSING)
            self._undo.append(lambda: _set_attribute(own, "save_pretrained", before))
            own["save_pretrained"] = partial(save_pruned, self)
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Puts everything back: the same objects, in the same places."""
        while self._undo:
            self._undo.pop()()

    def _replace(
        self,
        decoder: Decoder,
        parts: Parts | None,
        layer: nn.Module,
        whole: tuple[bool, bool],
        adapters: list[AdapterModule | None],
    ) -> None:
        """Makes a layer run what is kept of it, and adapters in the place of the rest."""

        def run(*inputs: Any, **named: Any) -> Any:
            arguments = decoder.named(layer, inputs, named)
            hidden: Tensor = arguments.pop("hidden_states")
            source = hidden
            if whole[0] and parts is not None:
                hidden = attention(layer, parts, hidden, arguments)
            else:
                hidden = instead(0, hidden)
            if whole[1] and parts is not None:
                read = source if parts.parallel and whole[0] else hidden
                hidden = feed_forward(layer, parts, hidden, read)
            else:
                hidden = instead(1, hidden)
            return decoder.output(hidden)

        def instead(place: int, hidden: Tensor) -> Tensor:
            adapter = adapters[place]
            hidden = hidden if adapter is None else adapter(hidden)
            return hidden if parts is None else left_behind(layer, parts, place, hidden)

        stand_in = StandIn(layer, run)
        before = dict(layer._modules)
        self._undo.append(stand_in.remove)
        self._undo.append(lambda: _set_modules(layer, before))
        device = next(layer.parameters()).device
        if parts is None:
            layer._modules.clear()
            for tensors in (layer._parameters, layer._buffers):
                self._undo.append(partial(tensors.update, dict(tensors)))
                tensors.clear()
        elif not any(whole) and (shared := parts.attention.shared_norm) is not None:
            layer._modules.pop(shared)
        for place, adapter in enumerate(adapters):
            if not whole[place] and parts is not None:
                for name in parts.of(place).names:
                    layer._modules.pop(name, None)
            if adapter is not None:
                layer._modules[ADAPTER_NAMES[place]] = adapter.to(device)

    def _shorten(self, layers: nn.ModuleList, kept: list[int]) -> None:
        before = dict(layers._modules)
        self._undo.append(lambda: _set_modules(layers, before))
        found = list(layers)
        _set_modules(layers, {str(place): found[block] for place, block in enumerate(kept)})


class AppliedMask:
    """A mask that is applied to a PyTorch model; the end of a `with` block takes it back.

    Parameters
    ----------
    restore : callable
        What takes it back.
    """

    def __init__(self, restore: Callable[[], None]) -> None:
        self._restore = restore

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()


def _set_attribute(holder: dict[str, Any], name: str, value: Any) -> None:
    holder.pop(name, None)
    if value is not _MISSING:
        holder[name] = value


def _set_modules(module: nn.Module, modules: Mapping[str, nn.Module | None]) -> None:
    module._modules.clear()
    module._modules.update(modules)
