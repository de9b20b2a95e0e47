# SPDX-License-Identifier: Apache-2.0
"""Random Llamas as GGUF files, their matrices in blocks: written a tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from benchmarks.harness.models import Shape

# Where a block has its scales in half floats, which must be small numbers.
_SCALES = {"Q8_0": (0,), "Q4_0": (0,), "Q4_1": (0, 2), "Q4_K": (0, 2), "Q6_K": (208,)}


def blocks(name: str, rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Random blocks whose numbers are of the size of weights: rows of bytes."""
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    made = rng.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    for place in _SCALES[name]:
        scales = rng.uniform(0.5e-3, 1e-3, len(made)).astype(np.float16)
        made[:, place : place + 2] = scales.view(np.uint8).reshape(-1, 2)
    return made.reshape(rows, -1)


def write(path: Path, name: str, shape: Shape) -> Path:
    """Writes a model all of whose matrices have a type; nothing of it stays in memory."""
    rng = np.random.default_rng(0)
    kind = gguf.GGMLQuantizationType[name]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(shape.blocks)
    writer.add_context_length(4096)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    matrices = list(_matrices(shape))
    norms = [
        f"blk.{block}.{norm}" for block in range(shape.blocks) for norm in ("attn_norm", "ffn_norm")
    ]
    ones = np.ones(shape.hidden, dtype=np.float32)
    for norm in (*norms, "output_norm"):
        writer.add_tensor_info(f"{norm}.weight", ones.shape, ones.dtype, ones.nbytes)
    for tensor, (rows, columns) in matrices:
        count = rows * columns // elements * size
        writer.add_tensor_info(
            f"{tensor}.weight", (rows, columns // elements * size), np.dtype(np.uint8), count, kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _ in (*norms, "output_norm"):
        writer.write_tensor_data(ones)
    for _, (rows, columns) in matrices:
        writer.write_tensor_data(blocks(name, rows, columns, rng))
    writer.close()
    return path


def _matrices(shape: Shape) -> Iterator[tuple[str, tuple[int, int]]]:
    width, inner = shape.hidden, shape.feed_forward
    kept = width // shape.heads * shape.kv_heads
    yield "token_embd", (shape.vocabulary, width)
    for block in range(shape.blocks):
        yield f"blk.{block}.attn_q", (width, width)
        yield f"blk.{block}.attn_k", (kept, width)
        yield f"blk.{block}.attn_v", (kept, width)
        yield f"blk.{block}.attn_output", (width, width)
        yield f"blk.{block}.ffn_gate", (inner, width)
        yield f"blk.{block}.ffn_up", (inner, width)
        yield f"blk.{block}.ffn_down", (width, inner)
    yield "output", (shape.vocabulary, width)
