# SPDX-License-Identifier: Apache-2.0
"""Which architecture of llama.cpp each checkpoint becomes without its second block, or why none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """A regular expression of the reason."""

    words: str


_PLACED = Refusal("turns the heads of all but every 4th layer")
_DENSE = Refusal("has a mixture of experts in every layer")
_ALONE = Refusal("has no architecture of its own for OPTForCausalLM")

EXPECTED: dict[str, str | Refusal] = {
    "llama-proportional": Refusal("llama turns all pairs of entries"),
    "llama-mix-ln": Refusal("llama has no norms where this model has them"),
    "gemma3-old": "gemma3",
    "phi": "phi2",
    "phi-qk-norm": Refusal("phi2 has no norms of queries and keys"),
    "olmo": "olmo",
    "olmo3": "olmo2",
    "olmoe": Refusal("olmoe has as many heads of keys as of queries"),
    "olmoe-clip": Refusal("olmoe has as many heads of keys as of queries"),
    "olmoe-equal-heads": "olmoe",
    "cohere": "command-r",
    "cohere-64": Refusal("command-r has no norms of queries and keys"),
    "cohere-qk-norm": Refusal("command-r has no norms of queries and keys"),
    "cohere-biases": Refusal("command-r reads no output biases"),
    "smollm3": _PLACED,
    "smollm3-window": Refusal("smollm3 reads no output biases"),
    "smollm3-usual": _PLACED,
    "glm": Refusal("chatglm needs heads that fill the hidden size"),
    "glm-filled": "chatglm",
    "neox": "gptneox",
    "opt": _ALONE,
    "nemotron": Refusal("nemotron needs heads that fill the hidden size"),
    "nemotron-filled": "nemotron",
    "exaone4": Refusal("exaone4 turns the heads of all layers"),
    "exaone4-no-window": "exaone4",
    "mixtral": "llama",
    "mistral": "llama",
    "helium": "llama",
    "ernie4_5": "ernie4_5",
    "ernie4_5-biases": "llama",
    "seed-oss": "seed_oss",
    "qwen2-moe": "qwen2moe",
    "qwen2-moe-dense-layers": _DENSE,
    "qwen3-moe": "qwen3moe",
    "qwen3-moe-dense-layers": Refusal("qwen3moe reads no output biases"),
    "gpt-oss": Refusal("no rotary embedding of type yarn .* rounds the ends of the ramp"),
    "gpt-oss-plain": "gpt-oss",
    "gpt-oss-truncated": "gpt-oss",
    "gpt-oss-limit": Refusal("swiglu_limit of 7"),
    "granitemoe-shared": "granitemoe",
}


def expected(name: str) -> str | Refusal:
    """Of a checkpoint, or of the family that its name begins with."""
    for length in range(name.count("-") + 1, 0, -1):
        part = "-".join(name.split("-")[:length])
        if part in EXPECTED:
            return EXPECTED[part]
    return name.split("-", maxsplit=1)[0]
