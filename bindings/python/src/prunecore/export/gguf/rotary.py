# SPDX-License-Identifier: Apache-2.0
"""Rotary embeddings in the words of llama.cpp.

Some of its graphs read a tensor by which the frequency of each pair of entries is divided: any rule
that scales frequencies can be said with it, to the last bit of a float. The others know the rules
"linear" and "yarn" by name: what they compute by these is compared with the model's frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from prunecore.export.gguf.graph import Graph
from prunecore.export.gguf.obstacle import Obstacle
from prunecore.export.gguf.plan import Turning

Numbers = npt.NDArray[np.float64]
_Any = TypeVar("_Any")
_SAME = 1e-6  # relative: two orders of computing the same are nearer


@dataclass(frozen=True)
class TurnedLayer:
    """How the heads of a layer turn, if they do, and how many tokens they see, if not all."""

    turning: Turning | None
    window: int | None


@dataclass
class Rotary:
    """What a file says of rotary embeddings.

    Attributes
    ----------
    keys : dict
        After the name of the architecture.
    tensors : dict
        By name, besides those of the model.
    notes : list of str
        What a user should know.
    """

    keys: dict[str, float | int | str] = field(default_factory=dict)
    tensors: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def say(graph: Graph, layers: Sequence[TurnedLayer], head_size: int) -> Rotary:
    """The words of an architecture for the rotary embeddings of all attention layers.

    Raises
    ------
    Obstacle
        It has none.
    """
    _check_turned(graph, layers)
    made = Rotary()
    full = [layer.turning for layer in layers if layer.turning and not layer.window]
    windowed = [layer.turning for layer in layers if layer.turning and layer.window]
    if not full and not windowed:
        return made
    size = _alike([turning.size for turning in (*full, *windowed)], "sizes")
    if size != head_size and not graph.turns_part:
        raise Obstacle("turns whole heads, and this model a part of each")
    made.keys["rope.dimension_count"] = size
    if graph.window_angles in ("same", "only") or graph.windows == "no":
        main = _alike([*full, *windowed], "rotary embeddings")
    else:
        main = _alike(full or windowed, "rotary embeddings")
        if windowed:
            _say_windowed(made, graph, main, _alike(windowed, "rotary embeddings"))
    made.keys["rope.freq_base"] = main.base
    if main.scaling == "dynamic":
        made.notes.append("beyond its context the model turns heads otherwise, llama.cpp does not")
    _SAYING[graph.angles](made, main)
    return made


def plain_frequencies(turning: Turning) -> Numbers:
    """Of each pair, without a rule."""
    frequencies: Numbers = turning.base ** -(np.arange(0, turning.size, 2) / turning.size)
    return frequencies


def divisors(turning: Turning) -> Numbers | None:
    """What the frequency of each pair is divided by, shape (size / 2,); None = 1."""
    plain = plain_frequencies(turning)
    found = np.array(turning.inverse_frequencies)
    if not found.all():
        raise Obstacle("turns all pairs of entries, and this model only some")
    return None if _same(found, plain) else plain / found


def _check_turned(graph: Graph, layers: Sequence[TurnedLayer]) -> None:
    for number, layer in enumerate(layers):
        turned = layer.turning is not None
        if not graph.turns and turned:
            raise Obstacle("has no rotary embeddings")
        if graph.unturned_every and turned != bool((number + 1) % graph.unturned_every):
            raise Obstacle(
                f"turns the heads of all but every {graph.unturned_every}th layer, but those that "
                "are left do not stand so"
            )
        if graph.window_angles == "only" and turned != bool(layer.window):
            raise Obstacle("turns heads in layers with a window, and only there")
        wanted = graph.turns and not graph.unturned_every and graph.window_angles != "only"
        if wanted and not turned:
            raise Obstacle("turns the heads of all layers")


def _say_windowed(made: Rotary, graph: Graph, main: Turning, windowed: Turning) -> None:
    """What layers with a window have for themselves."""
    if not _has_no_rule(windowed):
        raise Obstacle("has no rule for the rotary embeddings of layers with a window")
    if graph.window_angles == "own base":
        if main.scaling == "yarn" or main.attention_factor != 1:
            raise Obstacle("has no yarn for layers without a window alone")
        made.keys["rope.freq_base_swa"] = windowed.base
    elif main.base != windowed.base:
        raise Obstacle("has the same rotary base for layers with and without a window")


def _has_no_rule(turning: Turning) -> bool:
    return turning.attention_factor == 1 and divisors(turning) is None


def _say_by_tensor(made: Rotary, turning: Turning) -> None:
    _say_attention_factor(made, turning.attention_factor)
    if turning.scaling == "longrope":
        made.keys["rope.scaling.type"] = "longrope"
        _say_long(made, turning)
    elif (found := divisors(turning)) is not None:
        made.tensors["rope_freqs.weight"] = found.astype(np.float32)


def _say_by_divisors(made: Rotary, turning: Turning) -> None:
    if turning.scaling == "longrope":
        raise Obstacle("has no long and short rotary factors")
    _say_by_tensor(made, turning)


def _say_by_factors(made: Rotary, turning: Turning) -> None:
    _say_attention_factor(made, turning.attention_factor)
    if turning.scaling == "longrope":
        _say_long(made, turning)
    elif (found := divisors(turning)) is not None:
        for kind in ("long", "short"):
            made.tensors[f"rope_factors_{kind}.weight"] = found.astype(np.float32)


def _say_long(made: Rotary, turning: Turning) -> None:
    original = round(turning.original_context)
    made.keys["rope.scaling.original_context_length"] = original
    for kind, factors in (("long", turning.long_factors), ("short", turning.short_factors)):
        made.tensors[f"rope_factors_{kind}.weight"] = np.array(factors, dtype=np.float32)
    made.notes.append(
        f"llama.cpp takes the long rotary factors where its context (-c) is longer than {original} "
        "tokens, the model where the text is: run shorter texts in a shorter context"
    )


def _say_by_name(made: Rotary, turning: Turning) -> None:
    found, plain = np.array(turning.inverse_frequencies), plain_frequencies(turning)
    attention = turning.attention_factor
    if _same(found, plain):
        pass
    elif turning.scaling == "linear" and _same(found, plain / turning.factor):
        made.keys["rope.scaling.type"] = "linear"
        made.keys["rope.scaling.factor"] = turning.factor
    elif turning.scaling == "yarn" and turning.factor > 1 and _same(found, _named_yarn(turning)):
        made.keys["rope.scaling.type"] = "yarn"
        made.keys["rope.scaling.factor"] = turning.factor
        made.keys["rope.scaling.original_context_length"] = round(turning.original_context)
        attention /= 1 + 0.1 * math.log(turning.factor)  # which it has of its own accord
    else:
        more = (
            " (it rounds the ends of the ramp to whole pairs, for betas of 32 and 1; its own "
            "converter lets that pass where the model does not)"
        )
        raise Obstacle(
            f"has no rotary embedding of type {turning.scaling} with these parameters"
            + (more if turning.scaling == "yarn" else "")
        )
    _say_attention_factor(made, attention)


def _say_attention_factor(made: Rotary, factor: float) -> None:
    if abs(factor - 1) > 1e-9:
        made.keys["rope.scaling.attn_factor"] = factor


_SAYING = {
    "tensor": _say_by_tensor,
    "divisors": _say_by_divisors,
    "factors": _say_by_factors,
    "named": _say_by_name,
}


def _named_yarn(turning: Turning) -> Numbers:
    """The frequencies of llama.cpp's "yarn": `ggml_rope_yarn_corr_dims` and `rope_yarn`."""

    def pair(rotations: float) -> float:
        """The pair that turns so often over the original context."""
        whole = math.log(turning.original_context / (rotations * 2 * math.pi))
        return turning.size * whole / (2 * math.log(turning.base))

    low = max(0, math.floor(pair(32)))
    high = min(turning.size - 1, math.ceil(pair(1)))
    plain = plain_frequencies(turning)
    ramp = np.clip((np.arange(len(plain)) - low) / max(high - low, 0.001), 0.0, 1.0)
    made: Numbers = plain / turning.factor * ramp + plain * (1 - ramp)
    return made


def _same(first: Numbers, second: Numbers) -> bool:
    return bool(np.allclose(first, second, rtol=_SAME, atol=0))


def _alike(found: Sequence[_Any], what: str) -> _Any:
    if any(one != found[0] for one in found):
        raise Obstacle(f"has the same {what} in all layers")
    return found[0]
