# SPDX-License-Identifier: Apache-2.0
"""Reads the plan of an open model from the JSON that the library makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from prunecore._native.library import lib, written_text
from prunecore.export.gguf.plan import (
    AttentionPlan,
    FeedForwardPlan,
    HeadNorm,
    MixturePlan,
    ModelPlan,
    Norm,
    Place,
    Projection,
    SublayerPlan,
    Turning,
)
from prunecore.opened import OpenModel

_Made = TypeVar("_Made")
_Json = Mapping[str, Any]


def read_plan(model: OpenModel) -> ModelPlan:
    """The plan of an open model.

    Raises
    ------
    UnsupportedError
        A host runs it.
    """
    return _model(json.loads(written_text(lib.prune_model_plan, model.handle)))


def _model(found: _Json) -> ModelPlan:
    embedding, head = found["embedding"], found["head"]
    places = embedding["positions"]
    return ModelPlan(
        architecture=found["architecture"],
        model_type=found["model_type"],
        embedding=embedding["tensor"],
        embedding_scale=embedding["scale"],
        is_projected=bool(embedding["projection"] or head["projection"]),
        positions=places and (places["tensor"], places["offset"]),
        sublayers=tuple(_sublayer(sublayer) for sublayer in found["sublayers"]),
        head=head["tensor"],
        is_tied=head["is_tied"],
        final_norm=_maybe(_norm, head["norm"]),
        head_bias=head["bias"],
        head_cap=head["soft_cap"],
    )


def _sublayer(found: _Json) -> SublayerPlan:
    update = found["update"]
    kinds: dict[str, Callable[[_Json], Any]] = {"attention": _attention, "mixture": _mixture}
    return SublayerPlan(
        before=_maybe(_norm, found["before"]),
        after=_maybe(_norm, found["after"]),
        last=_maybe(_norm, found["last"]),
        scale=found["scale"],
        reads_block_input=found["reads_block_input"],
        update=kinds.get(update["kind"], _feed_forward)(update),
    )


def _attention(found: _Json) -> AttentionPlan:
    inputs = found["inputs"]
    return AttentionPlan(
        query=_maybe(_projection, inputs.get("query")),
        key=_maybe(_projection, inputs.get("key")),
        value=_maybe(_projection, inputs.get("value")),
        head_by_head=_maybe(_projection, inputs.get("head_by_head")),
        output=_projection(found["output"]),
        clip=found["clip"],
        query_norm=_maybe(_head_norm, found["query_norm"]),
        key_norm=_maybe(_head_norm, found["key_norm"]),
        turning=_maybe(_turning, found["rotary"]),
        scale=found["scale"],
        soft_cap=found["soft_cap"],
        window=found["window"],
        sinks=found["sinks"],
    )


def _feed_forward(found: _Json) -> FeedForwardPlan:
    inputs = found["inputs"]
    return FeedForwardPlan(
        gate=_maybe(_projection, inputs.get("gate")),
        up=_maybe(_projection, inputs.get("up")),
        alternating=_maybe(_projection, inputs.get("alternating")),
        plain=_maybe(_projection, inputs.get("plain")),
        down=_projection(found["down"]),
        activation=found["activation"],
        limit=found.get("limit"),
        slope=found.get("slope"),
    )


def _mixture(found: _Json) -> MixturePlan:
    return MixturePlan(
        router=_projection(found["router"]),
        chosen=found["chosen"],
        is_normalised=found["is_normalised"],
        experts=tuple(_feed_forward(expert) for expert in found["experts"]),
        shared=_maybe(_feed_forward, found["shared"]),
        shared_gate=_maybe(_projection, found["shared_gate"]),
    )


def _projection(found: _Json) -> Projection:
    return Projection(
        outputs=found["outputs"],
        inputs=found["inputs"],
        weight=_place(found["weight"]),
        bias=_maybe(_place, found["bias"]),
    )


def _place(found: _Json) -> Place:
    return Place(
        tensor=found["tensor"],
        expert=found["expert"],
        first=found["first"],
        is_transposed=found["is_transposed"],
    )


def _norm(found: _Json) -> Norm:
    return Norm(
        kind=found["kind"],
        epsilon=found["epsilon"],
        gains=tuple(found["gains"]),
        shape=tuple(found["shape"]),
        bias=found["bias"],
        offset=found["offset"],
        factor=found["factor"],
    )


def _head_norm(found: _Json) -> HeadNorm:
    return HeadNorm(_norm(found["norm"]), found["span"])


def _turning(found: _Json) -> Turning:
    return Turning(
        size=found["size"],
        base=found["base"],
        pairing=found["pairing"],
        attention_factor=found["attention_factor"],
        inverse_frequencies=tuple(found["inverse_frequencies"]),
        scaling=found["scaling"],
        factor=found.get("factor", 1.0),
        original_context=found.get("original_context", 0.0),
        short_factors=tuple(found.get("short_factors", ())),
        long_factors=tuple(found.get("long_factors", ())),
    )


def _maybe(make: Callable[[_Json], _Made], found: Any) -> _Made | None:
    return None if found is None else make(found)
