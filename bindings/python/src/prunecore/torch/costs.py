# SPDX-License-Identifier: Apache-2.0
"""What the sublayers of a PyTorch model hold, and what removing them saves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from prunecore.errors import UnsupportedError
from prunecore.hosts.host import ElementType
from prunecore.shape import Sublayer
from prunecore.torch.architectures import Parts
from prunecore.torch.decoder import Decoder

_ELEMENT_TYPES: dict[torch.dtype, ElementType] = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
}


def element_type(model: nn.Module) -> ElementType:
    """In which most of the model's numbers are stored, among floating-point types."""
    counts: dict[torch.dtype, int] = {}
    for parameter in model.parameters():
        if parameter.is_floating_point():
            counts[parameter.dtype] = counts.get(parameter.dtype, 0) + parameter.numel()
    most = max(counts, key=lambda kind: counts[kind], default=torch.float32)
    if most not in _ELEMENT_TYPES:
        raise UnsupportedError(f"the PyTorch model is in {most}, not in float32, float16, bfloat16")
    return _ELEMENT_TYPES[most]


def sublayers(decoder: Decoder, parts: Parts | None) -> list[Sublayer]:
    """The 2 * n_blocks sublayers. Of a layer whose parts are not known, the attention has all.

    A norm that both sublayers of a layer read is no part of either.
    """
    made = []
    for block, layer in enumerate(decoder.layers):
        for place in (0, 1):
            if parts is None:
                modules = [] if place else [layer]
            else:
                named = [getattr(layer, name) for name in parts.of(place).names]
                modules = [module for module in named if isinstance(module, nn.Module)]
            count, size = _sizes(modules)
            kv = 0 if place else _kv_bytes(decoder.config, layer)
            window = 0 if place else _window(decoder.config, block)
            made.append(
                Sublayer(
                    block=block,
                    is_feed_forward=bool(place),
                    parameters=count,
                    parameter_bytes=size,
                    kv_bytes=kv,
                    window=window,
                )
            )
    return made


def fixed(model: nn.Module, removable: Iterable[Sublayer]) -> tuple[int, int]:
    """Parameters of what no mask removes, and their bytes; a tied matrix is counted once."""
    count, size = _sizes([model])
    for sublayer in removable:
        count -= sublayer.parameters
        size -= sublayer.parameter_bytes
    return count, size


def _sizes(modules: Iterable[nn.Module]) -> tuple[int, int]:
    found = {
        id(parameter): parameter for module in modules for parameter in module.parameters()
    }.values()
    count = sum(parameter.numel() for parameter in found)
    return count, sum(parameter.numel() * parameter.element_size() for parameter in found)


def _kv_bytes(config: Any, layer: nn.Module) -> int:
    """Bytes of keys and values that a token adds to the cache of one layer.

    0 for models without attention, whose states do not grow.
    """
    heads = getattr(config, "num_attention_heads", None)
    if not heads:
        return 0
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    if getattr(config, "multi_query", False) and not getattr(
        config, "new_decoder_architecture", False
    ):
        kv_heads = 1
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    dtypes = [p.dtype for p in layer.parameters() if p.is_floating_point()]
    return 2 * int(kv_heads) * int(size) * (dtypes[0].itemsize if dtypes else 4)


def _window(config: Any, block: int) -> int:
    """Tokens that a query of this layer sees at most; 0 = all."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if not window or (kinds is not None and kinds[block] != "sliding_attention"):
        return 0
    return 0 if getattr(config, "use_sliding_window", True) is False else int(window)
