# SPDX-License-Identifier: Apache-2.0
"""Removed sublayers whose last products are zeros: the same logits in the model's own class."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prunecore.errors import UnsupportedError
from prunecore.masks.mask import Keep
from prunecore.torch.agreement import apart
from prunecore.torch.architectures import Part, Parts
from prunecore.torch.custom_model import logits_of
from prunecore.torch.decoder import Decoder
from prunecore.torch.failures import told
from prunecore.torch.shared_model import shared_model
from prunecore.torch.storable import own_class

_PROJECTIONS = frozenset(
    (
        *("o_proj", "out_proj", "c_proj", "down_proj", "output_proj", "output_linear"),
        *("dense", "dense_4h_to_h", "fc_out", "fc2", "w2", "wo"),
    )
)
"""What the last products of attention and feed-forwards are called in transformers."""


def zeroed_model(
    decoder: Decoder, parts: Parts | None, keep: Keep, ids: Tensor, wanted: Tensor
) -> tuple[Any, list[str]]:
    """The whole model with zeros in the places of what is removed, and which parameters they are.

    They are the output projections of removed sublayers, with biases, and what norms add after
    them; if that is not enough, all parameters that belong to these sublayers. All others are the
    model's own tensors. It is run on a few tokens, unless it is spread over devices.

    Parameters
    ----------
    keep : array of 0 and 1, shape (2 * n_blocks,)
    ids : Tensor of int64, shape (1, length)
        Tokens that it is tried on.
    wanted : Tensor, shape (length, vocabulary_size)
        Logits of the pruned model.

    Raises
    ------
    UnsupportedError
        No zeros make the model of that class compute what is wanted.
    """
    source = decoder.model
    kind: Any = own_class(source) or type(source)
    tensors = source.state_dict(keep_vars=True)
    buffers = dict(source.named_buffers())
    one_device = len({parameter.device for parameter in source.parameters()}) == 1
    distance: float | None = None
    for last_only in (True, False):
        chosen = _chosen(decoder, parts, keep, last_only)
        zeros = {name: nn.Parameter(torch.zeros_like(tensors[name])) for name in chosen}
        with told(f"{kind.__name__} cannot be saved", UnsupportedError):
            config = copy.deepcopy(source.config)
            made = shared_model(partial(kind, config), {**tensors, **zeros}, buffers)
            made.generation_config = copy.deepcopy(source.generation_config)
            distance = apart(logits_of(made, ids), wanted) if one_device else None
        if distance is None:
            return made, sorted(chosen)
    raise UnsupportedError(
        f"zeroed cannot hold this: with zeros in what is removed, logits of {kind.__name__} differ "
        f"by {distance:.3g} from those of the pruned model, since its blocks do more than add, or "
        "its class is changed; hf_custom may"
    )


def _chosen(decoder: Decoder, parts: Parts | None, keep: Keep, last_only: bool) -> set[str]:
    """Names of the parameters that are to be 0."""
    return {
        f"{decoder.path}.{sublayer // 2}.{name}"
        for sublayer, kept in enumerate(keep)
        if not kept
        for name in _parameters(
            decoder.blocks[sublayer // 2], None if parts is None else parts.of(sublayer), last_only
        )
    }


def _parameters(block: nn.Module, part: Part | None, last_only: bool) -> Iterator[str]:
    """Names of a block's parameters that have to be 0 for a sublayer to add nothing."""
    for name, _ in block.named_parameters(remove_duplicate=False):
        components = name.split(".")
        if part is not None:
            if components[0] not in part.names or components[0] == part.before:
                continue
            if components[0] == part.after:
                if components[-1] == "bias":  # its gain multiplies zeros
                    yield name
                continue
        if not last_only or any(own.removesuffix("_bias") in _PROJECTIONS for own in components):
            yield name
