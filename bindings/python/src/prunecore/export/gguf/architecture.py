# SPDX-License-Identifier: Apache-2.0
"""Which architecture of llama.cpp computes a pruned model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunecore.errors import UnsupportedError
from prunecore.export.gguf.layers import Layer
from prunecore.export.gguf.operations import Attention
from prunecore.export.gguf.rotary import Rotary
from prunecore.shape import ModelShape

OWN = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}


@dataclass(frozen=True)
class Architecture:
    """An architecture of llama.cpp, and how it wants its tensors.

    Attributes
    ----------
    name : {"llama", "deci", "qwen2", "qwen3"}
        `general.architecture`.
    turns_neighbours : bool
        Whether entries 2d and 2d + 1 of a head turn together, and not d and d + head_size / 2 as
        Hugging Face stores them: rows of queries and keys are then put in that order.
    reads_rope_divisors : bool
        Whether it reads `rope_freqs.weight`.
    """

    name: str

    @property
    def turns_neighbours(self) -> bool:
        """Whether rows of queries and keys are put in another order."""
        return self.name in ("llama", "deci")

    @property
    def reads_rope_divisors(self) -> bool:
        """Whether any rotary rule can be said."""
        return self.name in ("llama", "deci")

    @property
    def lists_layers(self) -> bool:
        """Whether head counts and widths are given for each layer."""
        return self.name == "deci"


def choose(
    shape: ModelShape, layers: Sequence[Layer], rotary: Rotary, has_output_bias: bool
) -> Architecture:
    """The model's own architecture where that can hold all layers, else deci.

    Raises
    ------
    UnsupportedError
        Neither can: the text says what stands in the way.
    """
    if not any(isinstance(layer.attention, Attention) for layer in layers):
        raise UnsupportedError(
            "nothing is left of the attention, and llama.cpp makes no context for a model without "
            "keys and values: keep one attention sublayer, or export with format='hf'"
        )
    own = OWN.get(shape.architecture)
    if own is None:
        raise UnsupportedError(
            f"{shape.architecture} is not exported as GGUF, only: {', '.join(OWN)}"
        )
    obstacle = _obstacle(own, shape, layers, rotary, has_output_bias)
    if obstacle is None:
        return Architecture(own)
    if own == "qwen3":
        raise UnsupportedError(
            f"{obstacle}, and deci, the architecture that could, has no norms of queries and "
            "keys, which Qwen3 needs: export whole blocks without adapters, or with format='hf'"
        )
    return Architecture("deci")


def _obstacle(
    own: str, shape: ModelShape, layers: Sequence[Layer], rotary: Rotary, has_output_bias: bool
) -> str | None:
    """Why a model's own architecture cannot hold the layers; None = it can."""
    words = f"llama.cpp's architecture {own}"
    if not all(layer.is_whole for layer in layers):
        return f"{words} has no layers without attention or feed-forward, and no linear adapters"
    if own == "llama":
        return None
    if has_output_bias or any(layer.has_added_bias for layer in layers):
        return f"{words} reads no output biases, which this model or its adapters need"
    if own == "qwen2" and shape.n_heads * shape.head_size != shape.hidden_size:
        return f"{words} needs heads that fill the hidden size"
    if not rotary.has_name:
        return f"{words} has no rotary embedding of type {rotary.rule} with these parameters"
    return None
