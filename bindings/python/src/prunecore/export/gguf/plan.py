# SPDX-License-Identifier: Apache-2.0
"""What each sublayer of a model computes, and in which tensors its weights lie.

The library says it as JSON, which plan_reading.py reads; these are the parts that are written.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Outputs of a tensor from `first` on; of one expert, if it holds those of several."""

    tensor: str
    expert: int | None
    first: int
    is_transposed: bool


@dataclass(frozen=True)
class Projection:
    """x -> weight x + bias."""

    outputs: int
    inputs: int
    weight: Place
    bias: Place | None


@dataclass(frozen=True)
class Norm:
    """A norm whose gain is factor * (offset + stored), and its bias factor * stored."""

    kind: str  # "rms" or "layer"
    epsilon: float
    gains: tuple[str, ...]  # one tensor, or one per head; none: the gain is `factor`
    shape: tuple[int, ...]
    bias: str | None
    offset: float
    factor: float


@dataclass(frozen=True)
class HeadNorm:
    """A norm of queries or keys: "head" (one gain for all), "eachHead" or "allHeads"."""

    norm: Norm
    span: str


@dataclass(frozen=True)
class Turning:
    """How heads are turned by position: `size` entries of each, in pairs."""

    size: int
    base: float
    pairing: str  # "halves" or "neighbours"
    attention_factor: float
    inverse_frequencies: tuple[float, ...]
    scaling: str
    factor: float
    original_context: float
    short_factors: tuple[float, ...]
    long_factors: tuple[float, ...]


@dataclass(frozen=True)
class AttentionPlan:
    """What an attention sublayer computes between its norms.

    Either `query`, `key` and `value` are there, or `head_by_head`, whose outputs are query, key and
    value of the first head, then those of the next.
    """

    query: Projection | None
    key: Projection | None
    value: Projection | None
    head_by_head: Projection | None
    output: Projection
    clip: float | None
    query_norm: HeadNorm | None
    key_norm: HeadNorm | None
    turning: Turning | None
    scale: float
    soft_cap: float | None
    window: int | None
    sinks: str | None


@dataclass(frozen=True)
class FeedForwardPlan:
    """down(activation(gate) * up), or down(activation(plain)).

    `alternating` gives a gate, then the up that it meets, then the next gate.
    """

    gate: Projection | None
    up: Projection | None
    alternating: Projection | None
    plain: Projection | None
    down: Projection
    activation: str
    limit: float | None
    slope: float | None

    @property
    def inputs(self) -> list[Projection]:
        """The projections that it begins with."""
        return [p for p in (self.gate, self.up, self.alternating, self.plain) if p is not None]

    @property
    def has_bias(self) -> bool:
        """Whether any of its projections has one."""
        return any(projection.bias for projection in (*self.inputs, self.down))


@dataclass(frozen=True)
class MixturePlan:
    """Experts, of which a router chooses some for each token."""

    router: Projection
    chosen: int
    is_normalised: bool
    experts: tuple[FeedForwardPlan, ...]
    shared: FeedForwardPlan | None
    shared_gate: Projection | None


@dataclass(frozen=True)
class SublayerPlan:
    """h -> last(h + scale * after(update(before(x)))).

    x is h, or where it `reads_block_input` the state before the block, if its attention is kept.
    """

    before: Norm | None
    after: Norm | None
    last: Norm | None
    scale: float
    reads_block_input: bool
    update: AttentionPlan | FeedForwardPlan | MixturePlan


@dataclass(frozen=True)
class ModelPlan:
    """A model: embedding, sublayers, head.

    Attributes
    ----------
    architecture, model_type : str
        As config.json names them.
    embedding : str
        The tensor of its rows; `embedding_scale` is on each.
    is_projected : bool
        Whether there are matrices between embedding, stream and head.
    positions : tuple of (str, int) or None
        The tensor of learned positions, and the row of the first token.
    sublayers : tuple of SublayerPlan
        Attention and feed-forward of each block, in order.
    head : str
        The tensor of the head, which may be that of the embedding: `is_tied`.
    final_norm : Norm or None
        Before the head; a factor on all logits stands in it.
    head_bias : str or None
        The tensor of it.
    head_cap : float or None
        Logits l become cap * tanh(l / cap).
    """

    architecture: str
    model_type: str
    embedding: str
    embedding_scale: float
    is_projected: bool
    positions: tuple[str, int] | None
    sublayers: tuple[SublayerPlan, ...]
    head: str
    is_tied: bool
    final_norm: Norm | None
    head_bias: str | None
    head_cap: float | None

    def attention(self, block: int) -> tuple[SublayerPlan, AttentionPlan]:
        """The attention sublayer of a block, and what it updates with."""
        sublayer = self.sublayers[2 * block]
        assert isinstance(sublayer.update, AttentionPlan)
        return sublayer, sublayer.update

    def feed_forward(self, block: int) -> tuple[SublayerPlan, FeedForwardPlan | MixturePlan]:
        """The feed-forward sublayer of a block, and what it updates with."""
        sublayer = self.sublayers[2 * block + 1]
        assert not isinstance(sublayer.update, AttentionPlan)
        return sublayer, sublayer.update
