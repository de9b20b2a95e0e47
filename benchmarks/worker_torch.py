# SPDX-License-Identifier: Apache-2.0
"""What a worker does on PyTorch's side: transformers with its default attention."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch_adapters import Training
from worker import Commands, token_ids


def opened(
    model: str, threads: int, tokens: int, compute: str, compiled: bool = False
) -> tuple[dict[str, Any], Commands]:
    """Opens a model and the sequence that it computes."""
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    start = time.perf_counter()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, compute))
    loaded.eval()
    seconds = time.perf_counter() - start
    ids = torch.from_numpy(token_ids(tokens, loaded.config.vocab_size))[None]
    run = torch.compile(loaded) if compiled else loaded

    def evaluate(keep: Sequence[int] | None = None) -> float:
        with torch.inference_mode(), masked(loaded, keep):
            return run(ids, labels=ids, use_cache=False).loss.item()

    trainings: dict[bool, Training] = {}

    def training_step(blocks: list[int], rank: int, sequences: int, autocast: bool) -> list[float]:
        """A step on some sequences of the worker's length; the training goes on between calls."""
        if autocast not in trainings:
            trainings[autocast] = Training(loaded, blocks, rank, autocast)
        drawn = token_ids(sequences * tokens, loaded.config.vocab_size)
        return [trainings[autocast].step(torch.from_numpy(drawn).view(sequences, tokens))]

    ready = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "attention": loaded.config._attn_implementation,
        "blas": torch.__config__.show(),
        "threads": torch.get_num_threads(),
        "open_seconds": seconds,
    }
    return ready, {
        "evaluate": evaluate,
        "product_rates": product_rates,
        "training_step": training_step,
    }


@contextmanager
def masked(model: Any, keep: Sequence[int] | None) -> Iterator[None]:
    """Has blocks leave out the sublayers whose byte is 0, with their norms and matrices."""
    if keep is None:
        yield
        return
    changed = []
    for block, *kept in zip(model.model.layers, keep[::2], keep[1::2], strict=True):
        if kept != [1, 1]:
            block.forward = without(block, *kept)
            changed.append(block)
    try:
        yield
    finally:
        for block in changed:
            del block.forward


def without(block: Any, attention: int, feed_forward: int) -> Any:
    """The forward function of a block of which one sublayer is left, or none."""

    def attention_alone(hidden_states: Any, **rest: Any) -> Any:
        update, _ = block.self_attn(hidden_states=block.input_layernorm(hidden_states), **rest)
        return hidden_states + update

    def feed_forward_alone(hidden_states: Any, **_: Any) -> Any:
        return hidden_states + block.mlp(block.post_attention_layernorm(hidden_states))

    def nothing(hidden_states: Any, **_: Any) -> Any:
        return hidden_states

    if attention:
        return attention_alone
    return feed_forward_alone if feed_forward else nothing


def product_rates(sizes: Sequence[Sequence[int]], repeats: int = 3) -> list[float]:
    """Operations a second of bf16 products of sizes (m, n, k): the best of some repeats of each."""
    rates = []
    with torch.inference_mode():
        for m, n, k in sizes:
            x = torch.randn(m, k).to(torch.bfloat16)
            weight = torch.randn(n, k).to(torch.bfloat16)
            torch.nn.functional.linear(x, weight)
            seconds = []
            for _ in range(repeats):
                start = time.perf_counter()
                torch.nn.functional.linear(x, weight)
                seconds.append(time.perf_counter() - start)
            rates.append(2 * m * n * k / min(seconds))
    return rates
