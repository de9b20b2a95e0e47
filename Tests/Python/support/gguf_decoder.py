# SPDX-License-Identifier: Apache-2.0
"""A GGUF file run in NumPy, in double precision, as the graphs of llama.cpp run it.

Written from src/models/*.cpp and src/llama-graph.cpp, with what these do not compute: tensors that
a graph does not read are errors here, and so are layers that llama.cpp loads or runs wrongly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf_experts import mixture
from gguf_rotary import turned
from gguf_styles import STYLES

Array = np.ndarray


def gelu_by_tanh(x: Array) -> Array:
    """As ggml computes it; on the CPU it is rounded to float16 besides, which is left out here."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu(x: Array) -> Array:
    """As GPT-NeoX means it."""
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


class GGUFDecoder:
    """Computes logits from a file.

    `approximation` is what stands for the gelu of llama.cpp.
    """

    def __init__(self, path: Path, approximation: Callable[[Array], Array] = gelu_by_tanh) -> None:
        reader = gguf.GGUFReader(path, "r")
        self.keys = {name: field.contents() for name, field in reader.fields.items()}
        self.types = {tensor.name: tensor.tensor_type for tensor in reader.tensors}
        self.tensors = {
            tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(float)
            for tensor in reader.tensors
        }
        self.used: set[str] = set()
        self.gelu = approximation
        self.architecture = self.keys["general.architecture"]
        self.style = STYLES[self.architecture]
        if self.architecture == "exaone4" and self.key("block_count") == 64:
            self.style = replace(self.style, windows=True, window_turns=True)
        self.heads = self.per_layer("attention.head_count")
        self.kv_heads = self.per_layer("attention.head_count_kv")
        self.widths = self.per_layer("feed_forward_length")
        kind = "layer_norm_rms_epsilon" if self.style.norm == "rms" else "layer_norm_epsilon"
        self.epsilon = self.key(f"attention.{kind}")

    def key(self, name: str, missing: Any = None) -> Any:
        """A key of the architecture."""
        found = self.keys.get(f"{self.architecture}.{name}", missing)
        assert found is not None, f"key not found in model: {name}"
        return found

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
        stream = embedding[tokens] * self.key("embedding_scale", 1.0)
        if self.style.root_embedding:
            stream = stream * embedding.shape[1] ** 0.5
        if self.architecture == "gpt2":
            positions = self.tensor("position_embd.weight")
            assert len(positions) == self.key("context_length")
            stream = stream + positions[: len(tokens)]
        for layer in range(self.key("block_count")):
            stream = self.layer(layer, stream)
        stream = self.norm(stream, "output_norm")
        has_head = "output.weight" in self.tensors
        head = self.tensor("output.weight") if has_head else embedding
        biased = self.architecture in ("phi2", "qwen2")
        logits = stream @ head.T + (self.optional("output.bias") if biased else 0.0)
        unused = set(self.tensors) - self.used
        assert not unused, f"llama.cpp refuses tensors that it does not know: {sorted(unused)}"
        if self.architecture.startswith("granite"):
            logits = logits / self.key("logit_scale")
        elif self.architecture in ("command-r", "cohere2"):
            logits = logits * self.key("logit_scale")
        if self.architecture in ("gemma2", "gemma3"):
            cap = self.key("final_logit_softcapping", 0.0)
            logits = cap * np.tanh(logits / cap) if cap else logits
        return logits

    def layer(self, number: int, stream: Array) -> Array:
        prefix, width = f"blk.{number}", stream.shape[1]
        heads, kv_heads, scale = self.heads[number], self.kv_heads[number], 1.0
        if self.architecture != "deci":
            assert heads > 0, "this architecture has attention in each layer"
            assert kv_heads > 0, "this architecture has attention in each layer"
        if self.architecture.startswith("granite"):
            scale = self.key("residual_scale")
        assert self.widths[number] > 0, "llama.cpp loses the attention of such a layer"
        assert number > 0 or heads > 0, "llama.cpp cannot load this"
        before = stream
        if heads > 0:
            has_norm = self.style.norm == "bare" or f"{prefix}.attn_norm.weight" in self.tensors
            normed = self.norm(stream, f"{prefix}.attn_norm") if has_norm else stream
            if kv_heads == 0:
                update = normed @ self.tensor(f"{prefix}.attn_output.weight", (width,) * 2).T
            else:
                update = self.attention(number, normed)
            stream = stream + scale * self.after(update, f"{prefix}.post_attention_norm")
        return stream + scale * self.feed_forward(number, before, stream)

    def after(self, update: Array, name: str) -> Array:
        """An update, normed where the architecture does that."""
        return self.norm(update, name) if self.style.after else update

    def feed_forward(self, number: int, before: Array, stream: Array) -> Array:
        prefix = f"blk.{number}"
        if self.architecture in ("phi2", "command-r", "cohere2"):
            normed = self.norm(before, f"{prefix}.attn_norm")
        elif self.architecture == "stablelm" and f"{prefix}.ffn_norm.weight" not in self.tensors:
            normed = self.norm(before, f"{prefix}.attn_norm")
        elif self.architecture in ("olmo2", "exaone4"):
            normed = stream
        else:
            beside = self.architecture == "gptneox" and self.key("use_parallel_residual")
            normed = self.norm(before if beside else stream, f"{prefix}.{self.style.ffn_norm}")
        if f"{prefix}.ffn_gate_inp.weight" in self.tensors:
            made = mixture(self, prefix, normed)
        else:
            made = self.dense(f"{prefix}.ffn", normed, self.widths[number])
        return self.after(made, f"{prefix}.post_ffw_norm")

    def dense(self, name: str, normed: Array, width: int, end: str = "") -> Array:
        def projected(part: str, rows: int) -> Array:
            made = normed @ self.tensor(f"{name}_{part}{end}.weight", (rows, normed.shape[1])).T
            return made + (self.optional(f"{name}_{part}.bias") if self.style.inner_bias else 0.0)

        if self.style.gate == "fused":
            both = projected("up", 2 * width)
            inner = self.act(both[:, :width]) * both[:, width:]
        elif self.style.gate == "none":
            inner = self.act(projected("up", width))
        else:
            inner = self.act(projected("gate", width)) * projected("up", width)
        made = inner @ self.tensor(f"{name}_down{end}.weight", (normed.shape[1], width)).T
        return made + (self.optional(f"{name}_down.bias") if self.style.inner_bias else 0.0)

    def act(self, x: Array) -> Array:
        if self.style.act == "gelu":
            return self.gelu(x)
        if self.style.act == "relu2":
            return np.maximum(x, 0) ** 2
        return x / (1 + np.exp(-x))

    def attention(self, number: int, normed: Array) -> Array:
        prefix, count = f"blk.{number}", len(normed)
        heads, kv_heads = self.heads[number], self.kv_heads[number]
        size = self.key("attention.key_length")
        assert size == self.key("attention.value_length")
        query, key, value = self.inputs(prefix, normed, heads, kv_heads, size)
        windowed = self.is_windowed(number)
        query, key = (turned(self, rows, number, windowed) for rows in (query, key))
        key, value = (np.repeat(array, heads // kv_heads, axis=1) for array in (key, value))
        scale = size**-0.5
        if self.architecture.startswith("granite"):
            scale = self.key("attention.scale")
        if (self.architecture, self.key("block_count")) in (("gemma2", 46), ("gemma3", 62)):
            scale = (normed.shape[1] // heads) ** -0.5
        scores = np.einsum("qhd,khd->hqk", query, key) * scale
        if self.architecture == "gemma2":
            cap = self.key("attn_logit_softcapping")
            scores = cap * np.tanh(scores / cap)
        ahead = np.arange(count)[:, None] - np.arange(count)
        hidden = (ahead < 0) | (
            ahead >= self.key("attention.sliding_window") if windowed else False
        )
        scores[:, hidden] = -np.inf
        largest = scores.max(axis=2, keepdims=True)
        weights = np.exp(scores - largest)
        total = weights.sum(axis=2, keepdims=True)
        if self.architecture == "gpt-oss":
            sinks = self.tensor(f"{prefix}.attn_sinks.weight", (heads,))
            total = total + np.exp(sinks[:, None, None] - largest)
        mixed = np.einsum("hqk,khd->qhd", weights / total, value).reshape(count, heads * size)
        bias = self.optional(f"{prefix}.attn_output.bias") if self.style.output_bias else 0.0
        return mixed @ self.tensor(f"{prefix}.attn_output.weight").T + bias

    def inputs(
        self, prefix: str, normed: Array, heads: int, kv_heads: int, size: int
    ) -> tuple[Array, Array, Array]:
        """Queries, keys and values, shape (n_tokens, heads, size), before they are turned."""
        counts = {"q": heads, "k": kv_heads, "v": kv_heads}
        if f"{prefix}.attn_qkv.weight" in self.tensors:
            total = (heads + 2 * kv_heads) * size
            whole = normed @ self.tensor(f"{prefix}.attn_qkv.weight", (total, normed.shape[1])).T
            whole = whole + self.optional(f"{prefix}.attn_qkv.bias")
            found = dict(
                zip(
                    "qkv",
                    np.split(whole, [heads * size, (heads + kv_heads) * size], 1),
                    strict=True,
                )
            )
        else:
            assert self.architecture not in ("gpt2", "gptneox"), "they read the fused tensor alone"
            found = {
                part: normed
                @ self.tensor(f"{prefix}.attn_{part}.weight", (number * size, normed.shape[1])).T
                + self.optional(f"{prefix}.attn_{part}.bias")
                for part, number in counts.items()
            }
        if self.architecture == "olmo":
            bound = self.key("attention.clamp_kqv", 0.0)
            found = {p: np.clip(v, -bound, bound) if bound else v for p, v in found.items()}
        for part in ("q", "k"):
            name = f"{prefix}.attn_{part}_norm"
            if not self.style.head_norm or f"{name}.weight" not in self.tensors:
                continue
            if self.architecture in ("olmo2", "olmoe"):
                found[part] = self.norm(found[part], name)
            else:
                found[part] = self.norm(found[part].reshape(len(normed), -1, size), name)
        query, key, value = (
            found[part].reshape(len(normed), number, size) for part, number in counts.items()
        )
        return query, key, value

    def is_windowed(self, number: int) -> bool:
        """Whether a layer sees the last tokens alone."""
        if not self.style.windows or not self.key("attention.sliding_window", 0):
            return False
        return bool(self.key("attention.sliding_window_pattern")[number])

    def norm(self, rows: Array, name: str) -> Array:
        if self.style.norm == "rms":
            squares = np.mean(rows**2, axis=-1, keepdims=True)
            return rows / np.sqrt(squares + self.epsilon) * self.tensor(f"{name}.weight")
        centred = rows - rows.mean(axis=-1, keepdims=True)
        made = centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + self.epsilon)
        if self.style.norm == "bare":
            return made
        return made * self.tensor(f"{name}.weight") + self.optional(f"{name}.bias")


class InNumPy:
    """Stands for llama.cpp, which `make verify-llama-cpp` runs."""

    name = "NumPy"

    def __init__(self, path: Path, _context: int) -> None:
        self._decoder = GGUFDecoder(path)

    def logits(self, sequence: Any) -> np.ndarray:
        return self._decoder.logits(sequence).astype(np.float32)

    def close(self) -> None:
        pass
