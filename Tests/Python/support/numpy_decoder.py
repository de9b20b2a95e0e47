# SPDX-License-Identifier: Apache-2.0
"""A small random Llama in NumPy, in double precision: forwards, backwards, and as a checkpoint.

Written from the model's definition, not from the library: RMS norms, rotary embeddings, grouped
queries, SwiGLU.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

EPSILON = 1e-5
BASE = 10000.0


@dataclass(frozen=True)
class Sizes:
    """Of a decoder."""

    blocks: int = 3
    width: int = 24
    heads: int = 4
    groups: int = 2  # key and value heads
    head: int = 6
    inner: int = 40
    vocabulary: int = 37


class Decoder:
    """Random weights, large enough to be missed, and what they compute for one sequence."""

    def __init__(self, seed: int = 1, sizes: Sizes = Sizes()) -> None:  # noqa: B008  is frozen
        random = np.random.default_rng(seed)
        self.sizes = sizes

        def matrix(rows: int, columns: int, gain: float = 0.7) -> np.ndarray:
            # As float32 holds them, so that a checkpoint of them is exact.
            values = random.normal(size=(rows, columns)) * gain / columns**0.5
            return values.astype(np.float32).astype(np.float64)

        def gains() -> np.ndarray:
            values = 1 + 0.3 * random.normal(size=sizes.width)
            return values.astype(np.float32).astype(np.float64)

        queries, keys = sizes.heads * sizes.head, sizes.groups * sizes.head
        self.embedding = matrix(sizes.vocabulary, sizes.width, 4.0)
        self.head = matrix(sizes.vocabulary, sizes.width, 2.0)
        self.final_gain = gains()
        self.gains = [gains() for _ in range(2 * sizes.blocks)]
        self.weights = [
            {
                "q": matrix(queries, sizes.width, 1.5),
                "k": matrix(keys, sizes.width, 1.5),
                "v": matrix(keys, sizes.width),
                "o": matrix(sizes.width, queries),
                "gate": matrix(sizes.inner, sizes.width),
                "up": matrix(sizes.inner, sizes.width),
                "down": matrix(sizes.width, sizes.inner),
            }
            for _ in range(sizes.blocks)
        ]

    # Forwards: rows of one sequence.

    def apply(self, sublayer: int, h: np.ndarray) -> np.ndarray:
        """h + f(norm(h))."""
        weights, x = self.weights[sublayer // 2], norm(h, self.gains[sublayer])
        if sublayer % 2:
            return h + (silu(x @ weights["gate"].T) * (x @ weights["up"].T)) @ weights["down"].T
        return h + self._attend(weights, x)[0] @ weights["o"].T

    def logits(self, h: np.ndarray) -> np.ndarray:
        """Of rows after the last sublayer."""
        return norm(h, self.final_gain) @ self.head.T

    def _attend(self, weights: dict, x: np.ndarray) -> tuple[np.ndarray, tuple]:
        sizes, count = self.sizes, len(x)
        q = rotate((x @ weights["q"].T).reshape(count, sizes.heads, sizes.head))
        k = rotate((x @ weights["k"].T).reshape(count, sizes.groups, sizes.head))
        v = (x @ weights["v"].T).reshape(count, sizes.groups, sizes.head)
        times = sizes.heads // sizes.groups
        k, v = np.repeat(k, times, axis=1), np.repeat(v, times, axis=1)
        scores = np.einsum("qhd,khd->hqk", q, k) / sizes.head**0.5
        scores[:, np.triu(np.ones((count, count), dtype=bool), 1)] = -np.inf
        chances = np.exp(log_softmax(scores))
        mixed = np.einsum("hqk,khd->qhd", chances, v).reshape(count, -1)
        return mixed, (q, k, v, chances)

    # Backwards: gradients by rows before, from those by rows after.

    def vjp(self, sublayer: int, h: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Of `apply`."""
        weights, gain = self.weights[sublayer // 2], self.gains[sublayer]
        x = norm(h, gain)
        inner = self._mixed_vjp if sublayer % 2 else self._attention_vjp
        return slope + norm_vjp(h, gain, inner(weights, x, slope))

    def head_vjp(self, h: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Of `logits`."""
        return norm_vjp(h, self.final_gain, slope @ self.head)

    def _mixed_vjp(self, weights: dict, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        gate, up = x @ weights["gate"].T, x @ weights["up"].T
        inner = slope @ weights["down"]
        chance = 1 / (1 + np.exp(-gate))
        by_gate = inner * up * chance * (1 + gate * (1 - chance))
        return by_gate @ weights["gate"] + inner * silu(gate) @ weights["up"]

    def _attention_vjp(self, weights: dict, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        sizes, count = self.sizes, len(x)
        _, (q, k, v, chances) = self._attend(weights, x)
        mixed = (slope @ weights["o"]).reshape(count, sizes.heads, sizes.head)
        by_chance = np.einsum("qhd,khd->hqk", mixed, v)
        by_score = chances * (by_chance - (by_chance * chances).sum(-1, keepdims=True))
        by_score /= sizes.head**0.5
        by_q = rotate(np.einsum("hqk,khd->qhd", by_score, k), -1)
        by_k = rotate(np.einsum("hqk,qhd->khd", by_score, q), -1)
        by_v = np.einsum("hqk,qhd->khd", chances, mixed)
        grouped = (count, sizes.groups, sizes.heads // sizes.groups, sizes.head)
        by_k, by_v = by_k.reshape(grouped).sum(2), by_v.reshape(grouped).sum(2)
        return (
            by_q.reshape(count, -1) @ weights["q"]
            + by_k.reshape(count, -1) @ weights["k"]
            + by_v.reshape(count, -1) @ weights["v"]
        )

    # The same model for others.

    def config(self) -> dict:
        """What config.json says of it."""
        sizes = self.sizes
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": sizes.width,
            "intermediate_size": sizes.inner,
            "num_hidden_layers": sizes.blocks,
            "num_attention_heads": sizes.heads,
            "num_key_value_heads": sizes.groups,
            "head_dim": sizes.head,
            "vocab_size": sizes.vocabulary,
            "max_position_embeddings": 128,
            "rms_norm_eps": EPSILON,
            "rope_theta": BASE,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
        }

    def tensors(self) -> dict[str, np.ndarray]:
        """Its weights by their names in a checkpoint, float32."""
        places = {"q": "self_attn", "k": "self_attn", "v": "self_attn", "o": "self_attn"}
        found = {
            "model.embed_tokens.weight": self.embedding,
            "lm_head.weight": self.head,
            "model.norm.weight": self.final_gain,
        }
        for block, weights in enumerate(self.weights):
            layer = f"model.layers.{block}"
            found[f"{layer}.input_layernorm.weight"] = self.gains[2 * block]
            found[f"{layer}.post_attention_layernorm.weight"] = self.gains[2 * block + 1]
            for name, values in weights.items():
                found[f"{layer}.{places.get(name, 'mlp')}.{name}_proj.weight"] = values
        return {name: values.astype(np.float32) for name, values in found.items()}

    def save(self, directory: Path) -> None:
        """Writes it as a Hugging Face directory: the header of a safetensors file, and the data."""
        header, parts, start = {}, [], 0
        for name, values in self.tensors().items():
            data = values.tobytes()
            span = [start, start + len(data)]
            header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": span}
            parts.append(data)
            start = span[1]
        text = json.dumps(header).encode()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.safetensors").write_bytes(
            len(text).to_bytes(8, "little") + text + b"".join(parts)
        )
        (directory / "config.json").write_text(json.dumps(self.config()))


def norm(h: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """gain * h / sqrt(mean(h^2) + epsilon)."""
    return gain * h / np.sqrt((h**2).mean(-1, keepdims=True) + EPSILON)


def norm_vjp(h: np.ndarray, gain: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Of `norm`, by h."""
    scale = 1 / np.sqrt((h**2).mean(-1, keepdims=True) + EPSILON)
    inner = slope * gain
    return scale * inner - scale**3 * h * (inner * h).mean(-1, keepdims=True)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def rotate(x: np.ndarray, direction: int = 1) -> np.ndarray:
    """Rotary embeddings of (tokens, heads, head); direction -1 turns them back."""
    count, _, head = x.shape
    half = head // 2
    angles = np.outer(np.arange(count), BASE ** (-np.arange(half) / half)) * direction
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1)
