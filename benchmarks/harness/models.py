# SPDX-License-Identifier: Apache-2.0
"""Random Llamas to measure with, written shard by shard.

    python models.py NAME DIRECTORY [BLOCKS]

Weights are drawn from a normal distribution of deviation 0.02, as transformers does for a new
model, norms are 1; all in bf16. No more than one shard is held in memory, so that the files may be
larger than it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness.places import REPOSITORY

DEVIATION = 0.02
BYTES = 2  # of a bf16 number


@dataclass(frozen=True)
class Shape:
    """A Llama without biases whose head is a matrix of its own."""

    hidden: int
    blocks: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int = 32000
    context: int = 4096

    @property
    def sublayers(self) -> int:
        """Attention and feed-forward layers."""
        return 2 * self.blocks

    @property
    def block_matrices(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of the matrices of one block, by the end of their names."""
        kv = self.hidden // self.heads * self.kv_heads
        return {
            "self_attn.q_proj": (self.hidden, self.hidden),
            "self_attn.k_proj": (kv, self.hidden),
            "self_attn.v_proj": (kv, self.hidden),
            "self_attn.o_proj": (self.hidden, self.hidden),
            "mlp.gate_proj": (self.feed_forward, self.hidden),
            "mlp.up_proj": (self.feed_forward, self.hidden),
            "mlp.down_proj": (self.hidden, self.feed_forward),
        }

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        matrices = sum(rows * columns for rows, columns in self.block_matrices.values())
        norms = (2 * self.blocks + 1) * self.hidden
        return self.blocks * matrices + 2 * self.vocabulary * self.hidden + norms

    @property
    def bytes_read_per_token(self) -> int:
        """Bytes of weights read for one token of one sequence: all but the embeddings."""
        return BYTES * (self.parameters - self.vocabulary * self.hidden)

    def forward_operations(self, tokens: int) -> int:
        """Floating-point operations that a forward pass with loss of one sequence needs.

        2 m n k for each product with a weight matrix; for causal attention 4 * hidden for each pair
        of a query and a key that it sees; the head only where there is a token to predict.
        """
        matrices = sum(rows * columns for rows, columns in self.block_matrices.values())
        pairs = tokens * (tokens + 1) // 2
        head = 2 * (tokens - 1) * self.vocabulary * self.hidden
        return self.blocks * (2 * tokens * matrices + 4 * self.hidden * pairs) + head

    @property
    def config(self) -> dict[str, object]:
        """What transformers writes as config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "dtype": "bfloat16",
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.blocks,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "max_position_embeddings": self.context,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }


SHAPES = {
    "246M": Shape(1024, 16, 2816, 16, 4),
    "1.1B": Shape(2048, 22, 5632, 32, 4),  # TinyLlama
    "7B": Shape(4096, 32, 11008, 32, 32),  # Llama 2
}


def shards(shape: Shape) -> Iterator[dict[str, tuple[int, ...]]]:
    """Names and shapes of the tensors of each file: embeddings, four blocks each, norm and head."""
    yield {"model.embed_tokens.weight": (shape.vocabulary, shape.hidden)}
    for first in range(0, shape.blocks, 4):
        shard: dict[str, tuple[int, ...]] = {}
        for i in range(first, min(first + 4, shape.blocks)):
            for name, size in shape.block_matrices.items():
                shard[f"model.layers.{i}.{name}.weight"] = size
            for norm in ("input_layernorm", "post_attention_layernorm"):
                shard[f"model.layers.{i}.{norm}.weight"] = (shape.hidden,)
        yield shard
    yield {
        "model.norm.weight": (shape.hidden,),
        "lm_head.weight": (shape.vocabulary, shape.hidden),
    }


def write(shape: Shape, directory: Path) -> None:
    """Writes a model directory; the same numbers every time."""
    import torch
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    files: dict[str, str] = {}
    for number, shard in enumerate(shards(shape)):
        tensors = {}
        for name, size in shard.items():
            tensor = torch.empty(size, dtype=torch.bfloat16)
            if len(size) == 1:
                tensor.fill_(1)
            else:
                tensor.normal_(0, DEVIATION, generator=generator)
            tensors[name] = tensor
        file = f"model-{number:05}.safetensors"
        save_file(tensors, directory / file, metadata={"format": "pt"})
        files.update(dict.fromkeys(shard, file))
    total = {"total_size": BYTES * shape.parameters}
    index = json.dumps({"metadata": total, "weight_map": files}, indent=1)
    (directory / "model.safetensors.index.json").write_text(index + "\n")
    # Last, so that a directory that holds it is whole.
    (directory / "config.json").write_text(json.dumps(shape.config, indent=1) + "\n")


def made(name: str, directory: Path, blocks: int | None = None) -> Path:
    """Writes a model that is not there, in a process of its own; None = its own blocks."""
    if not (directory / "config.json").exists():
        print(f"writing a random model of {name} parameters", file=sys.stderr, flush=True)
        script = [sys.executable, "-m", "benchmarks.harness.models", name, str(directory.resolve())]
        subprocess.run([*script, str(blocks or SHAPES[name].blocks)], check=True, cwd=REPOSITORY)
    return directory


def file_bytes(directory: Path) -> int:
    """Bytes of the weights of a model directory."""
    return sum(file.stat().st_size for file in directory.glob("*.safetensors"))


if __name__ == "__main__":
    wanted = SHAPES[sys.argv[1]]
    write(replace(wanted, blocks=int(sys.argv[3])) if sys.argv[3:] else wanted, Path(sys.argv[2]))
