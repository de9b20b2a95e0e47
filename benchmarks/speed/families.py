# SPDX-License-Identifier: Apache-2.0
"""Whether each family of models is computed faster in bf16 than in fp32, and than by PyTorch.

    python -m benchmarks.speed.families [--rounds N] [--only NAME[,NAME]] [--out DIRECTORY]

Random models of 6 blocks and width 512, stored in bf16, of one family for each thing that the
engine does in its own way: fused and transposed matrices, layer norms, parallel blocks, caps of
scores, mixtures, sinks. Times are of the mean loss of 8 sequences of 256 tokens, and of its
gradient with respect to all weights; the three take turns, and each round gives a ratio. The exit
status is 1 if bf16 takes longer than fp32 somewhere. Writes families.json and families.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc

from benchmarks.harness import report
from benchmarks.harness.places import RESULTS
from benchmarks.harness.record import Record, environment_notes

WIDTH = 512
SIZES = {
    "vocab_size": 8192,
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "pad_token_id": None,
}
EXPERTS = {"intermediate_size": WIDTH, "num_local_experts": 8}
GPT2 = {"vocab_size": 8192, "n_embd": WIDTH, "n_layer": 6, "n_head": 8, "n_positions": 1024}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("llama", SIZES),
    "GPT-2": ("gpt2", GPT2),
    "GPT-NeoX": ("gpt_neox", {k: v for k, v in SIZES.items() if k != "num_key_value_heads"}),
    "Gemma2": ("gemma2", SIZES | {"head_dim": 64}),
    "OLMo2": ("olmo2", SIZES),
    "Phi3": ("phi3", SIZES),
    "Cohere": ("cohere", SIZES),
    "Mixtral": ("mixtral", SIZES | EXPERTS),
    "gpt-oss": ("gpt_oss", SIZES | EXPERTS | {"head_dim": 64}),
}


def write(name: str, directory: Path) -> Path:
    """Writes a random model of a family, as transformers does."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model_type, fields = FAMILIES[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **fields)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(directory)
    return directory


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(name: str, directory: Path, rounds: int, record: Record) -> None:
    """Times one family, and adds its rows."""
    import torch
    from transformers import AutoModelForCausalLM

    ids = np.random.default_rng(0).integers(1, 8000, (8, 256)).astype(np.int32)
    data = pc.Data(list(ids))
    theirs = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokens = torch.from_numpy(ids.astype(np.int64))

    def run() -> None:
        with torch.inference_mode():
            theirs(tokens, use_cache=False, labels=tokens)

    with pc.open(directory, "float32") as plain, pc.open(directory, "bfloat16") as rounded:
        for work in (run, lambda: plain.evaluate(data), lambda: rounded.evaluate(data)):
            work()
        forward, gradient, torch_ratio = [], [], []
        for _ in range(rounds):
            fp32 = seconds(lambda: plain.evaluate(data))
            forward.append(seconds(lambda: rounded.evaluate(data)) / fp32)
            torch_ratio.append(fp32 / seconds(run))
            backward = seconds(lambda: plain.score(data, metrics=["taylor"]))
            gradient.append(seconds(lambda: rounded.score(data, metrics=["taylor"])) / backward)
    record.judge(f"{name}: loss, bf16 / fp32", forward, "{:.2f}", most=1.0)
    record.judge(f"{name}: gradients, bf16 / fp32", gradient, "{:.2f}", most=1.0)
    record.judge(f"{name}: loss, fp32 / PyTorch fp32", torch_ratio, "{:.2f}")


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="names with commas between")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(FAMILIES)
    warnings.simplefilter("ignore")
    record = Record()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, write(name, Path(folder)), arguments.rounds, record)
    results = record.results(
        **environment_notes(), rounds=arguments.rounds, library=f"prunecore {pc.__version__}"
    )
    lines = [
        "# Families of models",
        "",
        "Random models of 6 blocks and width 512, stored in bf16; 8 sequences of 256 tokens.",
        "Made by `python -m benchmarks.speed.families`.",
        "",
        *report.bar_table(record.rows),
        *report.footer(results),
    ]
    return report.publish("families", results, "\n".join(lines), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
