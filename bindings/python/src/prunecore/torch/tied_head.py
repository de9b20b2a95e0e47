# SPDX-License-Identifier: Apache-2.0
"""Heads that are one matrix with the embedding."""

from __future__ import annotations

from typing import Any

from torch import nn

from prunecore.errors import UnsupportedError


def is_tied(module: Any) -> bool:
    """Whether the head of a model is the matrix of its embedding."""
    head, embedding = module.get_output_embeddings(), module.get_input_embeddings()
    return head is not None and getattr(head, "weight", None) is embedding.weight


def untie(module: Any) -> None:
    """Makes the head of a model a matrix of its own, with the numbers that it has.

    Its configuration says so, too, so that what `save_pretrained` writes has both matrices.

    Raises
    ------
    UnsupportedError
        The configuration has no word for it.
    """
    if not hasattr(module.config, "tie_word_embeddings"):
        raise UnsupportedError(
            f"the configuration of {type(module).__name__} cannot say that its head is a matrix of "
            "its own: train it without head and embedding"
        )
    head = module.get_output_embeddings()
    old = head.weight
    tied = [name for name, own in module.named_parameters(remove_duplicate=False) if own is old]
    head.weight = nn.Parameter(old.detach().clone(), requires_grad=old.requires_grad)
    for config in (module.config, module.config.get_text_config()):
        config.tie_word_embeddings = False
    # What transformers leaves out when it saves, by the name of its other place.
    for part in module.modules():
        known: Any = getattr(part, "all_tied_weights_keys", None)
        if isinstance(known, dict):
            known = {
                name: other
                for name, other in known.items()
                if not any(own.endswith(name) for own in tied)
            }
            part.all_tied_weights_keys = known
