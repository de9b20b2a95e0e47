# SPDX-License-Identifier: Apache-2.0
"""Small Llamas as GGUF files whose matrices are blocks of any type."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, VOCABULARY, BLOCKS = 256, 4, 64, 3
TYPES = (
    *("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    *("IQ4_NL", "IQ4_XS", "MXFP4"),
)
"""Those that the package gguf takes apart. It does not Q8_K."""

# Where a block has its scales in half floats, which must be finite and small.
_SCALES = {
    **dict.fromkeys(("Q8_0", "Q4_0", "Q5_0", "IQ4_NL", "IQ4_XS"), (0,)),
    **dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), (0, 2)),
    **{"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,)},
}


def blocks(name: str, rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Random blocks of a type whose numbers are those of weights: rows of bytes."""
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    made = rng.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    for place in _SCALES.get(name, ()):
        scales = rng.uniform(0.2e-2, 0.4e-2, len(made)).astype(np.float16)
        made[:, place : place + 2] = scales.view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":
        made[:, 0] = 119  # 2^-8
    return made.reshape(rows, -1)


def write_blocks(path: Path, name: str, seed: int = 1) -> Path:
    """Writes a Llama of three blocks, all of whose matrices have the type."""
    rng = np.random.default_rng(seed)
    kind = gguf.GGMLQuantizationType[name]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(BLOCKS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    shapes = {"token_embd": (VOCABULARY, WIDTH), "output": (VOCABULARY, WIDTH)}
    for block in range(BLOCKS):
        kept = WIDTH // HEADS * (HEADS // 2)
        rows = {"attn_q": WIDTH, "attn_k": kept, "attn_v": kept, "attn_output": WIDTH}
        rows |= {"ffn_gate": WIDTH, "ffn_up": WIDTH, "ffn_down": WIDTH}
        shapes |= {f"blk.{block}.{part}": (count, WIDTH) for part, count in rows.items()}
        for norm in ("attn_norm", "ffn_norm"):
            values = rng.uniform(0.5, 1.5, WIDTH).astype(np.float32)
            writer.add_tensor(f"blk.{block}.{norm}.weight", values)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
    for tensor, (count, width) in shapes.items():
        writer.add_tensor(f"{tensor}.weight", blocks(name, count, width, rng), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def stored(path: Path) -> dict[str, tuple[str, bytes]]:
    """Type and bytes of every tensor of a file."""
    return {
        tensor.name: (tensor.tensor_type.name, tensor.data.tobytes())
        for tensor in gguf.GGUFReader(path).tensors
    }
