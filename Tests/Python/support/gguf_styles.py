# SPDX-License-Identifier: Apache-2.0
"""How architectures of llama.cpp differ, as `GGUFDecoder` needs it: read from src/models/*.cpp.

Written for the tests alone, and not from what the library holds about llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Style:
    """What the graph of an architecture does.

    Attributes
    ----------
    norm : str
        Of all norms: "rms", "layer" (with a bias if there is one), or "bare" (without numbers).
    neighbours : bool
        Whether entries 2d and 2d + 1 of a head turn together.
    turns : bool
        Whether heads turn at all.
    divides : bool
        Whether `rope_freqs.weight` is read.
    long : bool
        Whether long and short rotary factors are read.
    output_bias, inner_bias : bool
        Whether biases after attention and in feed-forwards are read.
    head_norm : bool
        Whether queries and keys have norms, where the tensors are there.
    after : bool
        Whether updates are normed.
    ffn_norm : str
        The name of the norm before the feed-forward.
    act : str
        Of the feed-forward: "silu", "gelu", "relu2" or "oai".
    gate : str
        "apart", "fused" (the first half of `ffn_up`) or "none".
    normalised : bool
        Whether chosen experts' weights are divided by their sum.
    windows : bool
        Whether some layers see the last tokens alone.
    window_base : bool
        Whether layers with a window have a rotary base of their own.
    window_plain : bool
        Whether they have no rotary rule.
    window_turns : bool
        Whether heads turn there alone.
    whole_every : int
        Every so many layers heads do not turn.
    root_embedding : bool
        Whether embeddings are multiplied by the root of their width.
    """

    norm: str = "rms"
    neighbours: bool = False
    turns: bool = True
    divides: bool = False
    long: bool = False
    output_bias: bool = False
    inner_bias: bool = False
    head_norm: bool = False
    after: bool = False
    ffn_norm: str = "ffn_norm"
    act: str = "silu"
    gate: str = "apart"
    normalised: bool = True
    windows: bool = False
    window_base: bool = False
    window_plain: bool = False
    window_turns: bool = False
    whole_every: int = 0
    root_embedding: bool = False


_LLAMA = Style(neighbours=True, divides=True, long=True, output_bias=True, inner_bias=True)
_GEMMA = Style(act="gelu", root_embedding=True)
_GEMMA2 = replace(_GEMMA, after=True, windows=True)
_OLD = Style(norm="layer", act="gelu", gate="none", output_bias=True, inner_bias=True)
_COHERE = Style(norm="layer", neighbours=True, head_norm=True)
_GLM4 = Style(neighbours=True, gate="fused", after=True)

STYLES: dict[str, Style] = {
    "llama": _LLAMA,
    "deci": _LLAMA,
    "granite": _LLAMA,
    "granitemoe": _LLAMA,
    "qwen2": Style(),
    "qwen3": Style(head_norm=True),
    "qwen2moe": Style(normalised=False),
    "qwen3moe": Style(head_norm=True),
    "gemma": _GEMMA,
    "gemma2": _GEMMA2,
    "gemma3": replace(_GEMMA2, head_norm=True, window_base=True),
    "phi2": _OLD,
    "phi3": Style(long=True, gate="fused"),
    "olmo": Style(norm="bare", neighbours=True),
    "olmo2": Style(head_norm=True, after=True, windows=True, window_plain=True),
    "olmoe": Style(head_norm=True, normalised=False),
    "smollm3": Style(neighbours=True, whole_every=4),
    "stablelm": Style(norm="layer", head_norm=True),
    "command-r": _COHERE,
    "cohere2": replace(_COHERE, head_norm=False, windows=True, window_turns=True),
    "starcoder2": _OLD,
    "chatglm": replace(_GLM4, after=False),
    "glm4": _GLM4,
    "gpt2": replace(_OLD, turns=False),
    "gptneox": _OLD,
    "gpt-oss": Style(
        output_bias=True, ffn_norm="post_attention_norm", act="oai", windows=True, normalised=False
    ),
    "arcee": Style(neighbours=True, divides=True, act="relu2", gate="none"),
    "nemotron": replace(_OLD, act="relu2"),
    "exaone4": Style(head_norm=True, divides=True, after=True),
    "ernie4_5": Style(neighbours=True),
    "seed_oss": Style(ffn_norm="post_attention_norm"),
}
