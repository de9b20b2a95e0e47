# SPDX-License-Identifier: Apache-2.0
"""What the graph of an architecture of llama.cpp computes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

GELU = "gelu_pytorch_tanh"
# Of tensors: "no" are read, they "may" be there, or they "must", with neutral values if need be.
Reads: TypeAlias = Literal["no", "may", "must"]
# How a block's sublayers stand: the feed-forward after the attention; or both side by side behind
# one norm, or each behind its own.
Order: TypeAlias = Literal["sequential", "one norm", "two norms"]


@dataclass(frozen=True)
class Experts:
    """How an architecture computes mixtures of experts.

    Attributes
    ----------
    is_normalised : bool
        Whether the weights of the chosen experts sum to 1.
    biases : Reads
        Of the router and of all projections of experts.
    shared : Reads
        An expert that every token goes through.
    gates_shared : bool
        Whether that is weighed by a gate.
    are_needed : bool
        Whether every layer must be a mixture; otherwise every layer or none.
    """

    is_normalised: bool = True
    biases: Reads = "no"
    shared: Reads = "no"
    gates_shared: bool = False
    are_needed: bool = True


@dataclass(frozen=True)
class Graph:
    """An architecture of llama.cpp.

    Attributes
    ----------
    name : str
        `general.architecture`.
    families : tuple of str
        The `model_type` of those whose own it is.
    lists_layers : bool
        Whether a layer may lack its attention, or have a matrix in the place of it.

    norm : {"rms", "layer"}
        Of all norms.
    has_norm_gain, has_norm_bias : bool
        Whether they have gains and biases.
    norms_before, norms_after : bool
        Whether what sublayers read is normed, and what they hand out.
    feed_forward_norm : str
        The tensor of the norm before the feed-forward.
    orders : tuple of Order
        How sublayers may stand.
    says_order : bool
        Whether one key says it for all blocks.
    scales_updates : bool
        Whether a key scales what sublayers hand out.

    fuses_inputs : bool
        Whether queries, keys and values are one tensor.
    input_bias, output_bias : Reads
        Of these, and of the projection after attention.
    fills_hidden : bool
        Whether all heads together are as wide as the hidden state.
    head_norm : {"", "head", "eachHead", "allHeads"}
        What norms of queries and keys span.
    head_norms : Reads
        Whether there are any.
    equal_heads : bool
        Whether there are as many heads of keys as of queries.
    reads_scale : bool
        Whether a key says what multiplies the products of queries and keys.
    large_layers : int
        With so many layers that factor is 1 / sqrt(hidden size / heads); 0 = never.
    score_cap : bool
        Whether scores are always capped.
    clips : bool
        Whether a key holds queries, keys and values within bounds.
    has_sinks : bool
        Whether each head has a sink.
    windows : Reads
        Whether some layers, as a key lists them, see the last tokens only.

    turns : {"", "neighbours", "halves"}
        Which entries of a head turn together; "" = none do.
    turns_part : bool
        Whether a part of a head may turn.
    angles : {"tensor", "divisors", "factors", "named"}
        How other rotary rules are said: by `rope_freqs.weight`, or by long and short factors where
        these are the rule; by the one alone; by the other alone; by name.
    window_angles : {"same", "own base", "unscaled", "only"}
        How heads turn in layers with a window: as in the others; with a base of their own, or the
        same, and no rule; only there.
    unturned_every : int
        Every so many layers heads do not turn; 0 = all do.

    gate : {"apart", "fused", "none"}
        Whether the feed-forward has a gate, and in a tensor of its own.
    activation : str
        Of the feed-forward.
    feed_forward_bias : Reads
        Of all its projections.
    experts : Experts or None
        None = there are none.

    embedding_scale : {"one", "root", "key"}
        1, the root of the width, or what a key says.
    has_positions : bool
        Whether positions are learned.
    logit_scale : {"", "times", "over"}
        Whether a key multiplies or divides logits.
    logit_cap : Reads
        Whether logits are capped.
    output : {"own", "tied", "any"}
        Whether the head has a tensor of its own.
    head_bias : Reads
        Of the head.
    """

    name: str
    families: tuple[str, ...] = ()
    lists_layers: bool = False

    norm: Literal["rms", "layer"] = "rms"
    has_norm_gain: bool = True
    has_norm_bias: bool = False
    norms_before: bool = True
    norms_after: bool = False
    feed_forward_norm: str = "ffn_norm"
    orders: tuple[Order, ...] = ("sequential",)
    says_order: bool = False
    scales_updates: bool = False

    fuses_inputs: bool = False
    input_bias: Reads = "may"
    output_bias: Reads = "no"
    fills_hidden: bool = False
    head_norm: Literal["", "head", "eachHead", "allHeads"] = ""
    head_norms: Reads = "no"
    equal_heads: bool = False
    reads_scale: bool = False
    large_layers: int = 0
    score_cap: bool = False
    clips: bool = False
    has_sinks: bool = False
    windows: Reads = "no"

    turns: Literal["", "neighbours", "halves"] = "halves"
    turns_part: bool = False
    angles: Literal["tensor", "divisors", "factors", "named"] = "named"
    window_angles: Literal["same", "own base", "unscaled", "only"] = "same"
    unturned_every: int = 0

    gate: Literal["apart", "fused", "none"] = "apart"
    activation: str = "silu"
    feed_forward_bias: Reads = "no"
    experts: Experts | None = None

    embedding_scale: Literal["one", "root", "key"] = "one"
    has_positions: bool = False
    logit_scale: Literal["", "times", "over"] = ""
    logit_cap: Reads = "no"
    output: Literal["own", "tied", "any"] = "any"
    head_bias: Reads = "no"

    def for_layers(self, count: int) -> Graph:
        """The same, with what depends on the number of layers."""
        if self.name == "command-r" and count >= 64:
            return replace(self, head_norm="eachHead", head_norms="must")
        if self.name == "exaone4" and count == 64:
            return replace(self, windows="must", window_angles="only")
        return self
