# SPDX-License-Identifier: Apache-2.0
"""What is left of a model and how its blocks are made, in the words of an export's config.json.

The words are explained in the file configuration_prunecore.py that an export carries; the library
writes the same for the checkpoints that it opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prunecore.masks.mask import Keep
from prunecore.torch.adapter_module import AdapterModule
from prunecore.torch.architectures import Part, Parts

ADAPTER_NAMES = ("adapter_attention", "adapter_feed_forward")
"""Under which an adapter is a module of the layer in which it stands, in this process."""

_WHOLE = Parts(Part(ADAPTER_NAMES[:1]), Part(ADAPTER_NAMES[1:]))
"""Of blocks that are not taken apart: the names of their adapters alone."""

TENSORS = {
    "bias": "bias",
    "down": "down.weight",
    "up": "up.weight",
    "matrix": "linear.weight",
    "norm": "norm.weight",
    "norm_bias": "norm.bias",
}
"""What the tensors of an adapter are called in the checkpoint, after the module it replaces."""


def described(
    blocks: str,
    parts: Parts | None,
    keep: Keep,
    adapters: Mapping[int, AdapterModule],
    outputs: int | None,
) -> dict[str, Any]:
    """The entry `prunecore` of config.json.

    Parameters
    ----------
    blocks : str
        What the numbers of blocks stand behind, such as "model.layers".
    parts : Parts or None
        How blocks are made; None = they are removed as a whole.
    keep : array of 0 and 1, shape (2 * n_blocks,)
    adapters : mapping of int to AdapterModule
        By removed sublayer.
    outputs : int or None
        How many values a block gives back beside the hidden state; None = no tuple.
    """
    own = _WHOLE if parts is None else parts
    found: dict[str, Any] = {
        "version": 2,
        "blocks": blocks,
        "attention": _part(own.attention),
        "feed_forward": _part(own.feed_forward),
        "is_parallel": own.parallel,
        "update_scale": own.update_scale,
        "removed": [_name(index) for index, kept in enumerate(keep) if not kept],
        "adapters": {_name(index): _form(adapter) for index, adapter in adapters.items()},
    }
    if outputs is not None:
        found["outputs"] = outputs
    if parts is None:
        found["whole_blocks"] = True
    return found


def place(parts: Parts | None, sublayer: int) -> str:
    """The module of a block in whose place an adapter stands."""
    return (_WHOLE if parts is None else parts).of(sublayer).modules[0]


def skipped(removed: Iterable[int]) -> dict[str, dict[str, list[str]]]:
    """The entry `per_layer_config`, a coming convention of transformers: numbers that sort."""
    blocks: dict[int, list[str]] = {}
    for index in removed:
        blocks.setdefault(index // 2, []).append("mlp" if index % 2 else "attention")
    digits = len(str(max(blocks, default=0)))
    return {f"{block:0{digits}}": {"skip": names} for block, names in blocks.items()}


def _name(sublayer: int) -> str:
    return f"{'ffn' if sublayer % 2 else 'attn'}.{sublayer // 2}"


def _part(part: Part) -> dict[str, Any]:
    named: dict[str, Any] = {
        "modules": list(part.modules),
        "besides": list(part.besides),
        "before": part.before,
        "after": part.after,
        "last": part.last,
    }
    return named | {"adds_input": True} if part.adds_input else named


def _form(adapter: AdapterModule) -> dict[str, Any]:
    normed = adapter.norm is not None
    form: dict[str, Any] = {
        "kind": adapter.kind,
        "rank": 0 if adapter.down is None else adapter.down.shape[0],
        "input": "normed" if normed else "raw",
        "epsilon": adapter.epsilon if normed else None,
    }
    return form | {"norm": adapter.norm_kind} if normed and adapter.norm_kind != "rms" else form
