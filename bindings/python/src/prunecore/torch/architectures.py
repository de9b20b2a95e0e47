# SPDX-License-Identifier: Apache-2.0
"""How decoder layers of transformers are made of two sublayers: which modules do what.

Only what a decoder layer does is written down here. Embeddings, positions, masks, final norm and
head are run by the model's own code; see `Decoder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Part:
    """One sublayer: hidden + after(modules(before(source))), by names of modules in the layer.

    Attributes
    ----------
    modules : tuple of str
        Run one after the other.
    before : str or None
        Norm of the input; None = there is none.
    after : str or None
        Norm of the update, before it is added.
    last : str or None
        Norm of the sum.
    """

    modules: tuple[str, ...]
    before: str | None = None
    after: str | None = None
    last: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All modules of the layer that belong to the sublayer."""
        norms = (self.before, self.after, self.last)
        return (*self.modules, *(name for name in norms if name is not None))


@dataclass(frozen=True)
class Parts:
    """The two sublayers of a decoder layer.

    Attributes
    ----------
    attention, feed_forward : Part
        The attention has one module, which takes what the layer is called with.
    parallel : bool
        Whether the feed-forward reads what the attention read, the input of the block. Where the
        attention is removed, and where an adapter stands in its place, it reads the hidden state
        that it finds.
    norm_offset : float
        What the model's RMSNorm adds to its weight: 1 in the Gemma family.
    """

    attention: Part
    feed_forward: Part
    parallel: bool = False
    norm_offset: float = 0.0

    def of(self, sublayer: int) -> Part:
        """The part of a sublayer, by its index in the model or in the block."""
        return self.feed_forward if sublayer % 2 else self.attention


_PRE_NORM = Parts(
    Part(("self_attn",), before="input_layernorm"),
    Part(("mlp",), before="post_attention_layernorm"),
)
_POST_NORM = Parts(
    Part(("self_attn",), after="post_attention_layernorm"),
    Part(("mlp",), after="post_feedforward_layernorm"),
)
_GEMMA = Parts(
    Part(("self_attn",), before="input_layernorm", after="post_attention_layernorm"),
    Part(("mlp",), before="pre_feedforward_layernorm", after="post_feedforward_layernorm"),
    norm_offset=1.0,
)
_GPT2 = Parts(Part(("attn",), before="ln_1"), Part(("mlp",), before="ln_2"))
_OPT = Parts(
    Part(("self_attn",), before="self_attn_layer_norm"),
    Part(("fc1", "activation_fn", "fc2"), before="final_layer_norm"),
)
_OPT_NORM_LAST = Parts(
    Part(("self_attn",), last="self_attn_layer_norm"),
    Part(("fc1", "activation_fn", "fc2"), last="final_layer_norm"),
)
_GPT_NEOX_ATTENTION = Part(("attention",), before="input_layernorm")
_GPT_NEOX_FEED_FORWARD = Part(("mlp",), before="post_attention_layernorm")

_PARTS = {
    "LlamaDecoderLayer": _PRE_NORM,
    "MistralDecoderLayer": _PRE_NORM,
    "Qwen2DecoderLayer": _PRE_NORM,
    "Qwen3DecoderLayer": _PRE_NORM,
    "Phi3DecoderLayer": _PRE_NORM,
    "Gemma2DecoderLayer": _GEMMA,
    "Gemma3DecoderLayer": _GEMMA,
    "Olmo2DecoderLayer": _POST_NORM,
    "GPT2Block": _GPT2,
    "OPTDecoderLayer": _OPT,
    "GPTNeoXLayer": Parts(_GPT_NEOX_ATTENTION, _GPT_NEOX_FEED_FORWARD),
}


def parts_of(layer: nn.Module, config: Any) -> Parts | None:
    """How a decoder layer is made; None if it is not known, so that whole blocks are the units.

    Parameters
    ----------
    layer : Module
        Any of the model's decoder layers.
    config : PreTrainedConfig
        Of the decoder.
    """
    name = type(layer).__name__
    if name == "OPTDecoderLayer" and not config.do_layer_norm_before:
        return _OPT_NORM_LAST
    if name == "GPTNeoXLayer" and config.use_parallel_residual:
        return Parts(_GPT_NEOX_ATTENTION, _GPT_NEOX_FEED_FORWARD, parallel=True)
    if name == "GPT2Block" and config.add_cross_attention:
        return None
    return _PARTS.get(name)
