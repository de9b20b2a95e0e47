# SPDX-License-Identifier: Apache-2.0
"""A GGUF file run in NumPy, in double precision, as the graphs of llama.cpp run it.

Written from src/models/{llama,deci,qwen2,qwen3}.cpp, with what these do not compute: an output bias
of a layer without attention is not read, and layers that llama.cpp loads or runs wrongly are errors
here: no feed-forward, and no attention in layer 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

Array = np.ndarray


class GGUFDecoder:
    """Computes logits from a file."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path, "r")
        self.keys = {name: field.contents() for name, field in reader.fields.items()}
        self.types = {tensor.name: tensor.tensor_type for tensor in reader.tensors}
        self.tensors = {
            tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(float)
            for tensor in reader.tensors
        }
        self.used: set[str] = set()
        self.architecture = self.keys["general.architecture"]
        self.heads = self.per_layer("attention.head_count")
        self.kv_heads = self.per_layer("attention.head_count_kv")
        self.widths = self.per_layer("feed_forward_length")

    def key(self, name: str) -> Any:
        """A key of the architecture."""
        return self.keys[f"{self.architecture}.{name}"]

    def per_layer(self, name: str) -> list[int]:
        """A key that may be one number, or one of each layer."""
        value, count = self.key(name), self.key("block_count")
        found = list(value) if isinstance(value, list) else [value] * count
        assert len(found) == count, f"{name} has wrong array length"
        return found

    def tensor(self, name: str, shape: tuple[int, ...] | None = None) -> Array:
        """A tensor that the graph needs, of the shape that the loader wants."""
        self.used.add(name)
        found = self.tensors[name]
        assert shape is None or found.shape == shape, f"{name} has the shape {found.shape}"
        return found

    def optional(self, name: str) -> Array | float:
        """A bias; 0 if there is none."""
        return self.tensor(name) if name in self.tensors else 0.0

    def logits(self, tokens: Array) -> Array:
        """Logits of every token, shape (n_tokens, vocabulary)."""
        embedding = self.tensor("token_embd.weight")
        assert len(embedding) == self.key("vocab_size")
        stream = embedding[tokens]
        for layer in range(self.key("block_count")):
            stream = self.layer(layer, stream)
        stream = self.norm(stream, "output_norm.weight")
        has_head = "output.weight" in self.tensors
        head = self.tensor("output.weight") if has_head else embedding
        unused = set(self.tensors) - self.used
        assert not unused, f"llama.cpp refuses tensors that it does not know: {sorted(unused)}"
        return stream @ head.T

    def layer(self, number: int, stream: Array) -> Array:
        prefix, width = f"blk.{number}", stream.shape[1]
        heads, kv_heads = self.heads[number], self.kv_heads[number]
        if self.architecture != "deci":
            assert heads > 0, "this architecture has attention in each layer"
            assert kv_heads > 0, "this architecture has attention in each layer"
        assert self.widths[number] > 0, "llama.cpp loses the attention of such a layer"
        assert number > 0 or heads > 0, "llama.cpp cannot load this"
        if heads > 0:
            normed = self.norm(stream, f"{prefix}.attn_norm.weight")
            if kv_heads == 0:
                stream = (
                    stream + normed @ self.tensor(f"{prefix}.attn_output.weight", (width,) * 2).T
                )
            else:
                stream = stream + self.attention(prefix, normed, heads, kv_heads)
        normed = self.norm(stream, f"{prefix}.ffn_norm.weight")
        gate, up, down = (
            self.tensor(f"{prefix}.ffn_{part}.weight", shape)
            for part, shape in (
                ("gate", (self.widths[number], width)),
                ("up", (self.widths[number], width)),
                ("down", (width, self.widths[number])),
            )
        )
        biases = [0.0, 0.0, 0.0]
        if self.architecture in ("llama", "deci"):
            biases = [self.optional(f"{prefix}.ffn_{part}.bias") for part in ("gate", "up", "down")]
        gates = normed @ gate.T + biases[0]
        inner = gates / (1 + np.exp(-gates)) * (normed @ up.T + biases[1])
        return stream + inner @ down.T + biases[2]

    def attention(self, prefix: str, normed: Array, heads: int, kv_heads: int) -> Array:
        size, count = self.key("attention.key_length"), len(normed)
        assert size == self.key("rope.dimension_count") == self.key("attention.value_length")

        def projected(part: str, number: int) -> Array:
            weight = self.tensor(f"{prefix}.attn_{part}.weight", (number * size, normed.shape[1]))
            made = normed @ weight.T + self.optional(f"{prefix}.attn_{part}.bias")
            return made.reshape(count, number, size)

        query, key, value = (
            projected("q", heads),
            projected("k", kv_heads),
            projected("v", kv_heads),
        )
        if self.architecture == "qwen3":
            query = self.norm(query, f"{prefix}.attn_q_norm.weight")
            key = self.norm(key, f"{prefix}.attn_k_norm.weight")
        query, key = self.turned(query), self.turned(key)
        key, value = (np.repeat(array, heads // kv_heads, axis=1) for array in (key, value))
        scores = np.einsum("qhd,khd->hqk", query, key) / size**0.5
        scores[:, np.triu(np.ones((count, count), dtype=bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", weights, value).reshape(count, heads * size)
        bias = 0.0
        if self.architecture in ("llama", "deci"):
            bias = self.optional(f"{prefix}.attn_output.bias")
        return mixed @ self.tensor(f"{prefix}.attn_output.weight").T + bias

    def turned(self, rows: Array) -> Array:
        """Rotary embedding of shape (n_tokens, heads, size)."""
        size = rows.shape[2]
        frequencies = self.key("rope.freq_base") ** -(np.arange(0, size, 2) / size)
        scale = self.keys.get(f"{self.architecture}.rope.scaling.attn_factor", 1.0)
        kind = self.keys.get(f"{self.architecture}.rope.scaling.type", "none")
        assert kind in ("none", "linear"), "yarn by name is left to llama.cpp itself"
        frequencies /= self.keys.get(f"{self.architecture}.rope.scaling.factor", 1.0)
        neighbours = self.architecture in ("llama", "deci")
        if neighbours and "rope_freqs.weight" in self.tensors:
            frequencies = frequencies / self.tensor("rope_freqs.weight", (size // 2,))
        angles = np.arange(len(rows))[:, None, None] * frequencies
        cos, sin = np.cos(angles) * scale, np.sin(angles) * scale
        if neighbours:
            first, second = rows[..., 0::2], rows[..., 1::2]
        else:
            first, second = rows[..., : size // 2], rows[..., size // 2 :]
        pair = (first * cos - second * sin, first * sin + second * cos)
        if neighbours:
            return np.stack(pair, axis=-1).reshape(rows.shape)
        return np.concatenate(pair, axis=-1)

    def norm(self, rows: Array, name: str) -> Array:
        squares = np.mean(rows**2, axis=-1, keepdims=True)
        epsilon = self.key("attention.layer_norm_rms_epsilon")
        return rows / np.sqrt(squares + epsilon) * self.tensor(name)


class InNumPy:
    """Stands for llama.cpp, which `make verify-llama-cpp` runs."""

    name = "NumPy"

    def __init__(self, path: Path, _context: int) -> None:
        self._decoder = GGUFDecoder(path)

    def logits(self, sequence: Any) -> np.ndarray:
        return self._decoder.logits(sequence).astype(np.float32)

    def close(self) -> None:
        pass
