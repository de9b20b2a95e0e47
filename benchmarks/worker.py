# SPDX-License-Identifier: Apache-2.0
"""One side of the benchmark, in a process of its own.

    python worker.py make DIRECTORY THREADS         writes DIRECTORY/float32 and DIRECTORY/bfloat16
    python worker.py SIDE MODEL THREADS             measures; SIDE is prunecore, torch-float32 or
                                                    torch-bfloat16

A measuring worker opens the model, prints {"ready": {...}}, and then answers every command that it
reads with one line of JSON. The two sides share neither a process nor a BLAS, and the library's
memory is measured where PyTorch was never loaded.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TOKENS = 1024
SHAPE = {
    "vocab_size": 32000,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
}
Commands = dict[str, Callable[[], Any]]


def make(directory: Path) -> None:
    """Writes a random Llama of 246 million parameters in bf16, and the same numbers in fp32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    for storage in (torch.bfloat16, torch.float32):
        model.to(storage).save_pretrained(directory / str(storage).removeprefix("torch."))


def token_ids() -> np.ndarray:
    """The sequence that both sides compute."""
    return np.random.default_rng(0).integers(0, SHAPE["vocab_size"], TOKENS)


def prunecore_side(model_directory: Path, threads: int) -> tuple[dict[str, Any], Commands]:
    """Forward and loss; scoring; the forward without a head; and the memory used so far."""
    import prunecore as pc

    pc.set_threads(threads)
    model = pc.open(model_directory)
    data = pc.Data([token_ids().tolist()])
    last_state = 2 * SHAPE["num_hidden_layers"]
    commands: Commands = {
        "evaluate": lambda: model.evaluate(data).loss,
        "score": lambda: len(model.score(data)["cosine"]),
        "score_one_pass": lambda: len(
            model.score(data, metrics=[m for m in pc.STATIC_METRICS if m != "magnitude"])["cosine"]
        ),
        "blocks_only": lambda: len(model.hidden_states(data, last_state)),
        "peak_bytes": peak_bytes,
    }
    runtime = pc.runtime_info().to_dict()
    del runtime["library"]  # where it lies on this machine says nothing
    return {"prunecore": pc.__version__, "runtime": runtime}, commands


def torch_side(
    model_directory: Path, threads: int, precision: str
) -> tuple[dict[str, Any], Commands]:
    """Forward and loss of transformers, with its default (fastest) attention."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        model_directory, dtype=getattr(torch, precision)
    ).eval()
    ids = torch.from_numpy(token_ids())[None]

    def evaluate() -> float:
        with torch.inference_mode():
            return model(ids, labels=ids, use_cache=False).loss.item()

    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "attention": model.config._attn_implementation,
        "threads": torch.get_num_threads(),
    }
    return versions, {"evaluate": evaluate, "peak_bytes": peak_bytes}


def peak_bytes() -> int:
    """Most memory this process ever had resident, mapped files included.

    VmHWM begins anew with a program; ru_maxrss would still count that of the process that started
    this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def serve(ready: dict[str, Any], commands: Commands) -> None:
    """Answers commands from standard input until it ends."""
    print(json.dumps({"ready": ready}), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        value = commands[line.strip()]()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "value": value}), flush=True)


if __name__ == "__main__":
    side, place, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if side == "make":
        make(place)
    elif side == "prunecore":
        serve(*prunecore_side(place, count))
    else:
        serve(*torch_side(place, count, side.removeprefix("torch-")))
