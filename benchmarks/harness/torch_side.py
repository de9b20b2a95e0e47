# SPDX-License-Identifier: Apache-2.0
"""What a worker does on PyTorch's side: transformers with its default attention."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from benchmarks.harness.torch_healing import PlainHealing, wrapped_steps
from benchmarks.harness.torch_training import Training
from benchmarks.harness.worker_protocol import Commands, token_ids


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

    healings: dict[bool, PlainHealing] = {}

    def healing_step(removed: int, last: int, sequences: int, autocast: bool) -> float:
        """A step on some sequences of the worker's length; the training goes on between calls."""
        if autocast not in healings:
            healings[autocast] = PlainHealing(loaded, removed, last, autocast)
        drawn = token_ids(sequences * tokens, loaded.config.vocab_size)
        return healings[autocast].step(torch.from_numpy(drawn).view(sequences, tokens))

    def healing_steps(removed: int, train: list[str], sequences: int, steps: int) -> dict[str, Any]:
        """Steps by prunecore.torch."""
        drawn = token_ids(sequences * tokens, loaded.config.vocab_size)
        return wrapped_steps(loaded, drawn.reshape(sequences, tokens), removed, train, steps)

    def write(prompt_tokens: int, new_tokens: int, blocks: list[int]) -> dict[str, Any]:
        """A prompt and its continuation without the attention of some blocks."""
        prompt = torch.from_numpy(token_ids(prompt_tokens, loaded.config.vocab_size))[None]
        with torch.inference_mode(), without_attention(loaded, blocks):
            return written(loaded, prompt, new_tokens)

    def loss_without(blocks: list[int]) -> float:
        with torch.inference_mode(), without_attention(loaded, blocks):
            return loaded(ids, labels=ids, use_cache=False).loss.item()

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
        "healing_step": healing_step,
        "healing_steps": healing_steps,
        "write": write,
        "loss_without": loss_without,
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


@contextmanager
def without_attention(model: Any, blocks: Sequence[int]) -> Iterator[None]:
    """Takes the attention of blocks out of the model, and its cache, as users of PruneCore do."""
    if not blocks:
        yield
        return
    # Here, so that no other measurement has the library in its process.
    import prunecore as pc
    from prunecore.torch import wrap

    with wrap(model) as wrapped:
        mask = pc.Mask.remove([f"attn.{block}" for block in blocks], len(model.model.layers))
        with wrapped.apply_mask(mask):
            yield


def written(model: Any, prompt: torch.Tensor, new_tokens: int) -> dict[str, Any]:
    """Writes the likeliest tokens: speeds in tokens a second, and the bytes of the cache."""
    start = time.perf_counter()
    out = model(prompt, use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1:].argmax(-1)
    prefilled = time.perf_counter()
    for _ in range(new_tokens - 1):  # the first new token came from the prompt
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
    decoded = time.perf_counter()
    tensors = [part for layer in out.past_key_values.layers for part in (layer.keys, layer.values)]
    return {
        "prefill": prompt.numel() / (prefilled - start),
        "decode": (new_tokens - 1) / (decoded - prefilled),
        "kv_bytes": sum(p.numel() * p.element_size() for p in tensors if p is not None),
    }


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
