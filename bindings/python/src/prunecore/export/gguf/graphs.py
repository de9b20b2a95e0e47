# SPDX-License-Identifier: Apache-2.0
"""The architectures of llama.cpp that are written, and what the graph of each computes.

Read from src/models/*.cpp, src/llama-graph.cpp and src/llama-model.cpp of llama.cpp. A row says
what the loader wants and the graph does: what is not in a row is not computed, however the file
asks for it.
"""

from __future__ import annotations

from dataclasses import replace

from prunecore.export.gguf.graph import GELU, Experts, Graph

_LLAMA = Graph(
    "llama",
    families=("llama", "mistral", "mixtral"),
    turns="neighbours",
    angles="tensor",
    output_bias="may",
    feed_forward_bias="may",
    experts=Experts(are_needed=False),
)
DECI = replace(_LLAMA, name="deci", families=(), lists_layers=True, experts=None)
_QWEN3 = Graph("qwen3", families=("qwen3",), head_norm="head", head_norms="must")
_GEMMA = Graph(
    "gemma", families=("gemma",), activation=GELU, embedding_scale="root", output="tied",
    turns_part=True,
)  # fmt: skip
_GEMMA2 = replace(
    _GEMMA, name="gemma2", families=("gemma2",), norms_after=True, score_cap=True,
    logit_cap="must", windows="must", large_layers=46,
)  # fmt: skip
_GRANITE = replace(
    _LLAMA, name="granite", families=("granite",), reads_scale=True, scales_updates=True,
    embedding_scale="key", logit_scale="over", experts=None,
)  # fmt: skip
_COMMAND_R = Graph(
    "command-r", families=("cohere",), norm="layer", orders=("one norm",), turns="neighbours",
    turns_part=True, fills_hidden=True, logit_scale="times", output="tied",
)  # fmt: skip
_BIASED = Graph(
    "starcoder2", families=("starcoder2",), norm="layer", has_norm_bias=True, gate="none",
    activation=GELU, output_bias="must", feed_forward_bias="must", fills_hidden=True,
)  # fmt: skip
_STACKED = replace(_BIASED, fuses_inputs=True, input_bias="must")
_GLM4 = Graph(
    "glm4", families=("glm4",), norms_after=True, turns="neighbours", turns_part=True, gate="fused"
)
_OLMO2 = Graph(
    "olmo2", families=("olmo2", "olmo3"), norms_before=False, norms_after=True, fills_hidden=True,
    head_norm="allHeads", head_norms="must", windows="may", window_angles="unscaled", output="own",
)  # fmt: skip

GRAPHS: tuple[Graph, ...] = (
    _LLAMA,
    DECI,
    Graph("qwen2", families=("qwen2",), fills_hidden=True, head_bias="may"),
    _QWEN3,
    _GEMMA,
    _GEMMA2,
    replace(
        _GEMMA2, name="gemma3", families=("gemma3_text",), score_cap=False, logit_cap="may",
        windows="may", window_angles="own base", head_norm="head", head_norms="must",
        large_layers=62, output="any",
    ),
    Graph(
        "phi3", families=("phi3",), fuses_inputs=True, gate="fused", fills_hidden=True,
        turns_part=True, angles="factors",
    ),
    replace(
        _BIASED, name="phi2", families=("phi",), orders=("one norm",), turns_part=True,
        output="own", head_bias="must",
    ),
    _OLMO2,
    Graph(
        "olmoe", families=("olmoe",), fills_hidden=True, head_norm="allHeads", head_norms="must",
        equal_heads=True, output="own", experts=Experts(is_normalised=False),
    ),
    Graph(
        "olmo", families=("olmo",), norm="layer", has_norm_gain=False, turns="neighbours",
        fills_hidden=True, clips=True,
    ),
    Graph(
        "arcee", families=("arcee",), turns="neighbours", angles="divisors", gate="none",
        activation="relu2",
    ),
    Graph(
        "nemotron", families=("nemotron",), norm="layer", has_norm_bias=True, gate="none",
        activation="relu2", output_bias="may", feed_forward_bias="may", fills_hidden=True,
        turns_part=True, output="own",
    ),
    Graph(
        "exaone4", families=("exaone4",), norms_before=False, norms_after=True, fills_hidden=True,
        head_norm="head", head_norms="must", angles="divisors",
    ),
    Graph("ernie4_5", families=("ernie4_5",), turns="neighbours"),
    Graph("seed_oss", families=("seed_oss",), feed_forward_norm="post_attention_norm"),
    Graph("smollm3", families=("smollm3",), turns="neighbours", unturned_every=4),
    _GRANITE,
    replace(
        _GRANITE, name="granitemoe", families=("granitemoe", "granitemoeshared"),
        experts=Experts(shared="may"),
    ),
    Graph(
        "stablelm", families=("stablelm",), norm="layer", has_norm_bias=True,
        orders=("sequential", "one norm"), turns_part=True, fills_hidden=True,
        head_norm="eachHead", head_norms="may", output="own",
    ),
    _COMMAND_R,
    replace(
        _COMMAND_R, name="cohere2", families=("cohere2",), windows="must", window_angles="only"
    ),
    _BIASED,
    _GLM4,
    replace(_GLM4, name="chatglm", families=("glm",), norms_after=False, fills_hidden=True),
    replace(_STACKED, name="gpt2", families=("gpt2",), turns="", has_positions=True),
    replace(
        _STACKED, name="gptneox", families=("gpt_neox",), orders=("sequential", "two norms"),
        says_order=True, turns_part=True, output="own",
    ),
    Graph(
        "qwen2moe", families=("qwen2_moe",), fills_hidden=True, output="own",
        experts=Experts(is_normalised=False, shared="must", gates_shared=True),
    ),
    replace(_QWEN3, name="qwen3moe", families=("qwen3_moe",), experts=Experts()),
    Graph(
        "gpt-oss", families=("gpt_oss",), feed_forward_norm="post_attention_norm",
        output_bias="must", has_sinks=True, windows="must", activation="clamped", output="own",
        experts=Experts(biases="must"),
    ),
)  # fmt: skip


def candidates(model_type: str) -> list[Graph]:
    """Those that may hold a model, its own first."""
    own = [graph for graph in GRAPHS if model_type in graph.families]
    return own + [graph for graph in (_LLAMA, DECI) if graph not in own]
