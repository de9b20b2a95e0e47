# SPDX-License-Identifier: Apache-2.0
"""Whether an architecture of llama.cpp computes what is left of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from prunecore.export.gguf import rotary
from prunecore.export.gguf.fitting_experts import check_mixtures
from prunecore.export.gguf.graph import GELU, Graph, Order
from prunecore.export.gguf.layers import Layer
from prunecore.export.gguf.obstacle import Obstacle
from prunecore.export.gguf.operations import Attention, Linear
from prunecore.export.gguf.plan import (
    AttentionPlan,
    FeedForwardPlan,
    HeadNorm,
    MixturePlan,
    ModelPlan,
    Norm,
    SublayerPlan,
)
from prunecore.export.gguf.rotary import Rotary, TurnedLayer
from prunecore.shape import ModelShape

_SAME = 1e-6  # relative


@dataclass
class Fit:
    """An architecture of llama.cpp that holds the layers of a model.

    Attributes
    ----------
    graph : Graph
        The architecture.
    plan : ModelPlan
        Of the whole model.
    shape : ModelShape
        Of the whole model.
    layers : sequence of Layer
        Of the file.
    rotary : Rotary
        What it says of rotary embeddings.
    """

    graph: Graph
    plan: ModelPlan
    shape: ModelShape
    layers: Sequence[Layer]
    rotary: Rotary = field(init=False)

    def check(self) -> None:
        """Raises `Obstacle` if the architecture does not compute the layers."""
        for check in _CHECKS:
            check(self)
        self.rotary = rotary.say(
            self.graph,
            [TurnedLayer(plan.turning, plan.window) for _, plan in self.attentions],
            self.shape.head_size,
        )

    @cached_property
    def attentions(self) -> list[tuple[SublayerPlan, AttentionPlan]]:
        """Attention of all layers that have one, in order."""
        return [
            self.plan.attention(layer.attention.block)
            for layer in self.layers
            if isinstance(layer.attention, Attention)
        ]

    @cached_property
    def feed_forwards(self) -> list[tuple[SublayerPlan, FeedForwardPlan | MixturePlan]]:
        """Feed-forward of all layers that have one, in order."""
        found = (layer.feed_forward for layer in self.layers)
        return [self.plan.feed_forward(part.block) for part in found if part is not None]

    @cached_property
    def adapted(self) -> list[SublayerPlan]:
        """The sublayers in whose places matrices stand."""
        found = (layer.attention for layer in self.layers if isinstance(layer.attention, Linear))
        return [self.plan.sublayers[p.sublayer] for p in found if p.sublayer is not None]

    @cached_property
    def windows(self) -> set[int]:
        """Of attention that is left; where the graph has none, those shorter than the context."""
        found = {plan.window for _, plan in self.attentions if plan.window}
        if self.graph.windows != "no":
            return found
        return {window for window in found if window < self.shape.context_length}

    def order(self, layer: Layer) -> Order:
        """How the sublayers of a layer stand."""
        if not isinstance(layer.attention, Attention) or layer.feed_forward is None:
            return "sequential"
        feed_forward, _ = self.plan.feed_forward(layer.feed_forward.block)
        together = layer.attention.block == layer.feed_forward.block
        if not (together and feed_forward.reads_block_input):
            return "sequential"
        attention, _ = self.plan.attention(layer.attention.block)
        return "one norm" if attention.before == feed_forward.before else "two norms"

    @property
    def own_scale(self) -> float:
        """By which the architecture multiplies the products of queries and keys."""
        if self.graph.reads_scale:
            return self.attentions[0][1].scale
        if len(self.layers) == self.graph.large_layers:
            return float((self.shape.hidden_size // self.shape.n_heads) ** -0.5)
        return float(self.shape.head_size**-0.5)

    def query_factor(self, plan: AttentionPlan) -> float:
        """What queries are multiplied by, to be scaled as the model scales them."""
        factor = plan.scale / self.own_scale
        return 1.0 if abs(factor - 1) < _SAME else factor


def _check_layers(fit: Fit) -> None:
    if not fit.graph.lists_layers and not all(layer.is_whole for layer in fit.layers):
        raise Obstacle("has no layers without attention or feed-forward, and no linear adapters")
    orders = {fit.order(layer) for layer in fit.layers}
    if not orders <= set(fit.graph.orders):
        raise Obstacle("does not put attention and feed-forward together as this model does")
    if fit.graph.says_order and len(orders) > 1:
        raise Obstacle("puts the sublayers of all blocks together in one way")


def _check_norms(fit: Fit) -> None:
    graph, sublayers = fit.graph, [plan for plan, _ in (*fit.attentions, *fit.feed_forwards)]
    norms: list[Norm | None] = [fit.plan.final_norm]
    for sublayer in (*sublayers, *fit.adapted):
        norms += [sublayer.before] if graph.norms_before else []
        norms += [sublayer.after] if graph.norms_after else []
        if (
            (sublayer.before and not graph.norms_before)
            or (sublayer.after and not graph.norms_after)
            or sublayer.last
        ):
            raise Obstacle("has no norms where this model has them")
        if not graph.scales_updates and sublayer.scale != 1:
            raise Obstacle("does not scale what sublayers hand out")
    if len({sublayer.scale for sublayer in sublayers}) > 1:
        raise Obstacle("scales what all sublayers hand out alike")
    for norm in norms:
        if norm is None:
            raise Obstacle("has norms where this model has none")
        if norm.kind != graph.norm:
            raise Obstacle(f"has no norms of the kind {norm.kind}")
        if norm.bias is not None and not graph.has_norm_bias:
            raise Obstacle("has no biases in its norms")
        if not graph.has_norm_gain and (norm.gains or norm.factor != 1):
            raise Obstacle("has no gains in its norms")
    heads = [norm for _, plan in fit.attentions for norm in (plan.query_norm, plan.key_norm)]
    found = [norm for norm in norms if norm] + [norm.norm for norm in heads if norm]
    if len({norm.epsilon for norm in found}) > 1:
        raise Obstacle("has the same epsilon in all norms")


def _check_attention(fit: Fit) -> None:
    graph, shape = fit.graph, fit.shape
    if graph.fills_hidden and shape.n_heads * shape.head_size != shape.hidden_size:
        raise Obstacle("needs heads that fill the hidden size")
    if graph.equal_heads and shape.n_heads != shape.n_kv_heads:
        raise Obstacle("has as many heads of keys as of queries")
    for (_, plan), layer in zip(fit.attentions, _with_attention(fit.layers), strict=True):
        if plan.clip is not None and not graph.clips:
            raise Obstacle("does not clip queries, keys and values")
        for norm in (plan.query_norm, plan.key_norm):
            _check_head_norm(graph, norm)
        if (plan.soft_cap is not None) != graph.score_cap:
            raise Obstacle(
                f"{'always caps' if graph.score_cap else 'does not cap'} the scores of attention"
            )
        if (plan.sinks is not None) != graph.has_sinks:
            raise Obstacle(f"has {'' if graph.has_sinks else 'no '}sinks of attention")
        if graph.output_bias == "no" and (plan.output.bias or layer.attention_bias is not None):
            raise Obstacle("reads no output biases, which this model or its adapters need")
        if graph.norms_after and layer.attention_bias is not None:
            raise Obstacle("norms what attention hands out, so that no bias can be folded into it")
    if len({(plan.soft_cap, plan.clip) for _, plan in fit.attentions}) > 1:
        raise Obstacle("caps and clips alike in all layers")
    if any(plan.clip and fit.query_factor(plan) != 1 for _, plan in fit.attentions):
        raise Obstacle("scales the products of queries and keys otherwise")
    if graph.windows != "no" and len(fit.windows) > 1:
        raise Obstacle("has one length of windows")


def _check_head_norm(graph: Graph, norm: HeadNorm | None) -> None:
    if norm is None:
        if graph.head_norms == "must":
            raise Obstacle("needs norms of queries and keys")
        return
    if graph.head_norms == "no":
        raise Obstacle("has no norms of queries and keys")
    if norm.span != graph.head_norm or norm.norm.kind != graph.norm or norm.norm.bias:
        raise Obstacle("has other norms of queries and keys")


def _with_attention(layers: Sequence[Layer]) -> list[Layer]:
    return [layer for layer in layers if isinstance(layer.attention, Attention)]


def _check_feed_forward(fit: Fit) -> None:
    graph = fit.graph
    widths = {p.down.inputs for _, p in fit.feed_forwards if isinstance(p, FeedForwardPlan)}
    if len(widths) > 1 and not graph.lists_layers:
        raise Obstacle("has one width for the feed-forwards of all layers")
    for layer in fit.layers:
        if layer.feed_forward_bias is None:
            continue
        if graph.feed_forward_bias == "no":
            raise Obstacle("reads no output biases, which this model or its adapters need")
        if graph.norms_after:
            raise Obstacle(
                "norms what a feed-forward hands out, so that no bias can be folded into it"
            )
    dense = [plan for _, plan in fit.feed_forwards if isinstance(plan, FeedForwardPlan)]
    for plan in dense:
        if bool(plan.gate) != (graph.gate != "none"):
            raise Obstacle(f"has a feed-forward with{'out' * (graph.gate == 'none')} a gate")
        if plan.activation != graph.activation and (plan.activation, graph.activation) != (
            "gelu",
            GELU,
        ):
            raise Obstacle(f"computes {graph.activation}, and this model {plan.activation}")
        if plan.has_bias and graph.feed_forward_bias == "no":
            raise Obstacle("reads no biases of feed-forwards")
    if len({plan.down.inputs for plan in dense}) > 1:
        raise Obstacle("has feed-forwards of one width")
    check_mixtures(graph, fit.layers, [plan for _, plan in fit.feed_forwards])


def _check_ends(fit: Fit) -> None:
    graph, plan = fit.graph, fit.plan
    roots = {"one": 1.0, "root": fit.shape.hidden_size**0.5, "key": plan.embedding_scale}
    if abs(plan.embedding_scale / roots[graph.embedding_scale] - 1) > _SAME:
        raise Obstacle("scales embeddings otherwise")
    if plan.is_projected:
        raise Obstacle("has no projections of embeddings")
    if (plan.positions is not None) != graph.has_positions:
        raise Obstacle(f"has {'' if graph.has_positions else 'no '}learned positions")
    if graph.output == "tied" and not plan.is_tied:
        raise Obstacle("has no head of its own, but uses the embeddings")
    if plan.head_bias is not None and graph.head_bias == "no":
        raise Obstacle("has no bias on logits")
    if (plan.head_cap is None and graph.logit_cap == "must") or (
        plan.head_cap is not None and graph.logit_cap == "no"
    ):
        raise Obstacle(f"{'always caps' if graph.logit_cap == 'must' else 'does not cap'} logits")


_CHECKS: tuple[Callable[[Fit], None], ...] = (
    _check_layers,
    _check_norms,
    _check_attention,
    _check_feed_forward,
    _check_ends,
)
