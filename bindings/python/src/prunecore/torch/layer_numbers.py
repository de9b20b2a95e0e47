# SPDX-License-Identifier: Apache-2.0
"""Numbers and types of the layers that are left of a model, for its configuration and its cache."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from prunecore.torch.decoder import Decoder

_MISSING = object()
_PATTERNS = ("layer_types", "layers_block_type")
"""Members that some configurations compute from the numbers of layers, and that cannot be set."""


class LayerNumbers:
    """Renumbers what is left of a model, until `restore`.

    A key-value cache of transformers has an entry per layer of the configuration, each of the type
    of attention that `layer_types` says; attention modules name theirs by `layer_idx`. The kept
    attention modules of each type get the first entries of that type, and layers without attention
    the type of the first that has one. So the first entry, and the first of each type, which say
    how many tokens there are, are in use if any is; and entries for what was removed stay empty.

    Parameters
    ----------
    decoder : Decoder
        Of the model.
    layers : list of Module
        All its layers, in order, as it was made.
    kept : list of int
        Those that are left, as a whole or in part.
    attending : list of int
        Those of them whose attention is left.
    """

    def __init__(
        self, decoder: Decoder, layers: list[nn.Module], kept: list[int], attending: list[int]
    ) -> None:
        self._before: list[tuple[dict[str, Any], str, Any]] = []
        self._classes: list[tuple[Any, type]] = []
        for config in _configurations(decoder):
            self._fix_patterns(config, len(layers), kept)
            for name, value in list(vars(config).items()):
                one_each = isinstance(value, (list, tuple)) and len(value) == len(layers)
                if "layer" in name and one_each:
                    self._set(vars(config), name, [value[block] for block in kept])
        types = self._types(getattr(decoder.config, "layer_types", None), kept, attending)
        for config in _configurations(decoder):
            count = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
            self._set(vars(config), count, len(kept))
            own = config.attribute_map.get("layer_types", "layer_types")
            if isinstance(vars(config).get(own), list):
                self._set(vars(config), own, types)
            if any(config is changed for changed, _ in self._classes) and own in vars(type(config)):
                setattr(type(config), own, types)
            if not attending:  # a cache would say that there are no tokens before
                self._set(vars(config), "use_cache", False)
        generation = getattr(decoder.model, "generation_config", None)
        if not attending and generation is not None:
            self._set(vars(generation), "use_cache", False)
        for block, entry in _entries(types, kept, attending).items():
            for module in layers[block].modules():
                for name in ("layer_idx", "layer_id"):
                    if isinstance(vars(module).get(name), int):
                        self._set(vars(module), name, entry)

    def restore(self) -> None:
        """Puts all numbers back."""
        while self._before:
            holder, name, value = self._before.pop()
            if value is _MISSING:
                del holder[name]
            else:
                holder[name] = value
        while self._classes:
            config, kind = self._classes.pop()
            config.__class__ = kind

    def _fix_patterns(self, config: Any, count: int, kept: list[int]) -> None:
        """Gives the layers that are left what a pattern over all numbers gave them."""
        kind = type(config)
        found = {
            name: [getattr(config, name)[block] for block in kept]
            for name in _PATTERNS
            if isinstance(inspect.getattr_static(kind, name, None), property)
            and len(getattr(config, name) or ()) == count
        }
        if found:
            self._classes.append((config, kind))
            config.__class__ = type(kind.__name__, (kind,), found)

    def _set(self, holder: dict[str, Any], name: str, value: Any) -> None:
        # Past the checks of configurations, which compare a number of layers with their types
        # while the one is set and the other is not yet.
        self._before.append((holder, name, holder.get(name, _MISSING)))
        holder[name] = value

    def _types(self, found: Any, kept: list[int], attending: list[int]) -> list[str]:
        """Type of attention of each layer that is left, of what the configuration says of them."""
        if not isinstance(found, list):
            return [""] * len(kept)
        first = next((kind for kind, b in zip(found, kept, strict=True) if b in attending), None)
        return [
            kind if block in attending or first is None else first
            for kind, block in zip(found, kept, strict=True)
        ]


def _entries(types: list[str], kept: list[int], attending: list[int]) -> dict[int, int]:
    """Entry of the cache of each layer whose attention is left."""
    free: dict[str, list[int]] = {}
    for entry, kind in enumerate(types):
        free.setdefault(kind, []).append(entry)
    return {
        block: free[kind].pop(0)
        for block, kind in zip(kept, types, strict=True)
        if block in attending
    }


def _configurations(decoder: Decoder) -> list[Any]:
    """The configuration of the decoder, and copies of it that modules of the model hold."""
    count = decoder.config.num_hidden_layers
    found = {id(decoder.config): decoder.config}
    for module in decoder.model.modules():
        config = vars(module).get("config")
        if type(config) is type(decoder.config) and config.num_hidden_layers == count:
            found[id(config)] = config
    return list(found.values())
