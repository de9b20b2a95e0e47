# SPDX-License-Identifier: Apache-2.0
"""A second model over the tensors of one: nothing is copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from prunecore.errors import UnsupportedError


def shared_model(
    make: Callable[[], Any],
    tensors: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    *,
    spare_allowed: bool = False,
) -> Any:
    """A model in evaluation mode, whose parameters and buffers are those that are given.

    Parameters
    ----------
    make : callable
        Makes the model; it is called with the device meta, where tensors hold no numbers.
    tensors : mapping of str to Tensor
        By the names that they have in its `state_dict`.
    buffers : mapping of str to Tensor
        Buffers that are not saved with it, by name.
    spare_allowed : bool
        Whether there may be tensors that the model has not.

    Raises
    ------
    UnsupportedError
        The model needs a tensor that is not given, or has no place for one.
    """
    with torch.device("meta"):
        made = make()
    made.eval()
    wanted = made.state_dict(keep_vars=True)
    name = type(made).__name__.removeprefix("PruneCore")
    if missing := [own for own in wanted if own not in tensors]:
        raise UnsupportedError(f"{name} of transformers has {missing[0]}, which the model has not")
    spare = [own for own in tensors if own not in wanted]
    if spare and not spare_allowed:
        raise UnsupportedError(f"{name} of transformers lacks {spare[0]}, which the model has")
    made.load_state_dict({own: tensors[own] for own in wanted}, assign=True)
    for own, buffer in list(made.named_buffers()):
        if buffer.is_meta:
            if own not in buffers:
                raise UnsupportedError(f"{name} of transformers has {own}, which the model has not")
            holder, _, last = own.rpartition(".")
            made.get_submodule(holder)._buffers[last] = buffers[own]
    return made
