# SPDX-License-Identifier: Apache-2.0
"""Writes a small Llama checkpoint of Hugging Face as GGUF, without a vocabulary.

    python examples/llama_cpp/write_gguf.py MODEL_DIRECTORY OUTPUT.gguf [--type f32|f16|q8_0]

Token ids go in, logits come out. For models that people talk to, convert with llama.cpp's own
convert_hf_to_gguf.py, which writes the tokenizer too. This script exists so that the example beside
it needs no more than two packages.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np

TYPES = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
BLOCK_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OTHER_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def read_tensors(file: Path) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file in float32, which holds bf16 and fp16 exactly."""
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    tensors = {}
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        data = content[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] in ("F16", "F32"):
            values = np.frombuffer(data, "<f2" if entry["dtype"] == "F16" else "<f4")
        else:
            raise SystemExit(f"{name} is stored as {entry['dtype']}, which this script cannot read")
        tensors[name] = values.astype(np.float32).reshape(entry["shape"])
    return tensors


def turned(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key matrix in the order of llama.cpp, which rotates neighbours.

    Hugging Face rotates entry i of a head with entry i + half of it.
    """
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def gguf_name(name: str) -> str | None:
    """The name of a tensor in a GGUF file; None if the file does not store it."""
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    parts = name.split(".")
    if parts[:2] != ["model", "layers"] or parts[-1] != "weight":
        return None
    known = BLOCK_NAMES.get(".".join(parts[3:-1]))
    return known and f"blk.{parts[2]}.{known}.weight"


def write(directory: Path, output: Path, kind: str) -> None:
    """Converts the checkpoint of a directory."""
    config: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    rope = config.get("rope_parameters") or {"rope_theta": config.get("rope_theta", 10000.0)}
    if (
        config["architectures"] != ["LlamaForCausalLM"]
        or rope.get("rope_type", "default") != "default"
    ):
        raise SystemExit(
            f"{directory} is not a Llama with plain rotary embeddings; use llama.cpp's converter"
        )
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    head_size = config.get("head_dim") or config["hidden_size"] // heads

    writer = gguf.GGUFWriter(output, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    matrix_type, file_type = TYPES[kind]
    writer.add_file_type(file_type)
    for name, values in read_tensors(directory / "model.safetensors").items():
        target = gguf_name(name)
        if target is None or (target == "output.weight" and config.get("tie_word_embeddings")):
            raise SystemExit(f"{name} has no place in the GGUF file of a Llama")
        if target.endswith("attn_q.weight"):
            values = turned(values, heads)
        elif target.endswith("attn_k.weight"):
            values = turned(values, kv_heads)
        # Norms stay in float32, as llama.cpp wants them.
        stored = matrix_type if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        content = gguf.quants.quantize(np.ascontiguousarray(values), stored)
        writer.add_tensor(target, content, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--type", choices=tuple(TYPES), default="f32", help="of matrices")
    given = parser.parse_args()
    write(given.directory, given.output, given.type)
    print(f"{given.output}: {given.output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
