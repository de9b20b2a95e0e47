# SPDX-License-Identifier: Apache-2.0
"""What neurons cost: parameters and bytes of sublayers by the width of their feed-forwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from prunecore._native.library import lib, written_text

if TYPE_CHECKING:
    from prunecore.opened import OpenModel


@dataclass(frozen=True)
class BlockParameters:
    """Parameters of one block, as PyTorch counts those of its modules: without norms of the block.

    Attributes
    ----------
    attention, feed_forward : int
        Of the two modules, with their biases and the norms of single heads.
    per_neuron : int
        Of those of the feed-forward that go with a neuron; 0 for a mixture of experts.
    width : int
        Neurons; 0 for a mixture.
    """

    attention: int
    feed_forward: int
    per_neuron: int
    width: int


def block_parameters(model: OpenModel) -> list[BlockParameters]:
    """Parameters of every block, by the plan of the model.

    Raises
    ------
    UnsupportedError
        A host runs the model.
    """
    plan = json.loads(written_text(lib.prune_model_plan, model.handle))
    sublayers = plan["sublayers"]
    made = []
    for attention, feed_forward in zip(sublayers[::2], sublayers[1::2], strict=True):
        own = feed_forward["update"]
        dense = own["kind"] == "feed_forward"
        made.append(
            BlockParameters(
                attention=_parameters(attention["update"]),
                feed_forward=_parameters(own),
                per_neuron=_per_neuron(own) if dense else 0,
                width=own["down"]["inputs"] if dense else 0,
            )
        )
    return made


def _per_neuron(own: Mapping[str, Any]) -> int:
    inputs = own["inputs"]
    rows = sum(
        (2 if name == "alternating" else 1) * (part["inputs"] + (part["bias"] is not None))
        for name, part in inputs.items()
    )
    return int(rows + own["down"]["outputs"])


def _parameters(found: Any) -> int:
    """Parameters of all projections and norms of heads inside a part of a plan."""
    if isinstance(found, Sequence) and not isinstance(found, str):
        return sum(_parameters(each) for each in found)
    if not isinstance(found, Mapping):
        return 0
    if "outputs" in found:
        return int(found["outputs"] * (found["inputs"] + (found["bias"] is not None)))
    if "gains" in found:
        return len(found["gains"]) * prod(found["shape"])
    return sum(_parameters(each) for each in found.values())
