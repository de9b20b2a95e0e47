# SPDX-License-Identifier: Apache-2.0
"""What a worker does on PruneCore's side."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import prunecore as pc

from benchmarks.harness.healing_steps import timed
from benchmarks.harness.worker_protocol import Commands, token_ids


def opened(
    model: str,
    threads: int,
    tokens: int = 0,
    compute: str | None = None,
    sequences: int = 1,
    ids: list[int] | None = None,
) -> tuple[dict[str, Any], Commands]:
    """Opens a model and the sequence, or sequences, that it computes: random ones, or `ids`."""
    pc.set_threads(threads)
    start = time.perf_counter()
    opened_model = pc.open(model, compute=compute)
    seconds = time.perf_counter() - start
    if ids is None:
        drawn = token_ids(tokens * sequences, opened_model.shape.vocabulary_size)
        data = pc.Data(drawn.reshape(sequences, tokens).tolist())
    else:
        drawn = np.array(ids)
        data = pc.Data([ids])
    runtime = pc.runtime_info().to_dict()
    del runtime["library"]  # where it lies on this machine says nothing
    ready = {
        "prunecore": pc.__version__,
        "runtime": runtime,
        "compute": opened_model.shape.compute,
        "open_seconds": seconds,
    }
    return ready, commands(opened_model, data, drawn.tolist(), threads)


def commands(model: pc.Model, data: pc.Data, data_ids: list[int], threads: int) -> Commands:
    """What can be asked of the worker. Values are JSON. `data_ids` are the tokens of `data`."""
    last_state = 2 * model.shape.n_blocks

    def evaluate(on_threads: int = threads) -> float:
        pc.set_threads(on_threads)
        try:
            return model.evaluate(data).loss
        finally:
            pc.set_threads(threads)

    def score(granularity: str) -> int:
        return len(model.score(data, granularity=granularity)["cosine"])

    def without_head() -> int:
        return len(model.hidden_states(data, last_state))

    def influences() -> dict[str, list[float]]:
        scores = model.score(data)
        return {metric: scores[metric].tolist() for metric in pc.STATIC_METRICS}

    def static() -> list[float]:
        metrics = [metric for metric in pc.STATIC_METRICS if metric != "magnitude"]
        return model.score(data, metrics=metrics)["cosine"].tolist()

    def magnitude() -> list[float]:
        return model.score(metrics="magnitude")["magnitude"].tolist()

    def leave_one_out(granularity: str = "sublayer") -> list[float]:
        scores = model.score(data, metrics=["leave_one_out_loss"], granularity=granularity)
        return scores["leave_one_out_loss"].tolist()

    # Without a cap: that of the default would make all coalitions of a random model alike.
    def shapley(budget: int) -> list[float]:
        return model.shapley(data, budget=budget, seed=0, cap=None).values.tolist()

    def coalitions(budget: int) -> dict[str, Any]:
        """The same game by asking and telling: which coalitions it asks for, and their losses."""
        asked: list[np.ndarray] = []
        worths: list[float] = []
        with pc.Game(last_state, budget=budget, seed=0) as game:
            while not game.done:
                masks = game.ask(budget)
                losses = model.damages(data, masks).values
                game.tell(masks, -losses)
                asked.extend(masks.astype(int))
                worths.extend(losses.tolist())
            return {"masks": np.array(asked).tolist(), "losses": worths}

    def generate(prompt_tokens: int, new_tokens: int) -> dict[str, Any]:
        prompt = token_ids(prompt_tokens, model.shape.vocabulary_size).tolist()
        made = model.generate([prompt], new_tokens, temperature=0, stop_at_eos=False)
        # The first new token comes from the pass over the prompt.
        return {"tokens": len(made.tokens[0]) - 1, "seconds": made.decode_seconds}

    def write(prompt_tokens: int, new_tokens: int, blocks: list[int]) -> dict[str, Any]:
        """A prompt and its continuation without the attention of some blocks."""
        prompt = token_ids(prompt_tokens, model.shape.vocabulary_size).tolist()
        made = model.generate(
            [prompt],
            new_tokens,
            temperature=0,
            stop_at_eos=False,
            mask=without_attention(blocks),
        )
        return {
            "prefill": prompt_tokens / made.prompt_seconds,
            "decode": (len(made.tokens[0]) - 1) / made.decode_seconds,
            "kv_bytes": made.kv_bytes_peak,
        }

    def loss_without(blocks: list[int]) -> float:
        return model.evaluate(data, without_attention(blocks)).loss

    def without_attention(blocks: list[int]) -> pc.Mask:
        keep = np.ones(last_state, np.uint8)
        keep[[2 * block for block in blocks]] = 0
        return pc.Mask(keep)

    def training_steps(blocks: list[int], rank: int, steps: int) -> dict[str, Any]:
        """Steps on all sequences of the data: seconds of each, and the losses."""
        ends: list[float] = []
        losses: list[float] = []

        def note(state: Any) -> None:
            ends.append(time.perf_counter())
            losses.append(state.loss)

        model.recover(
            without_attention(blocks),
            data,
            held_out=pc.Data([data_ids[:2]]),
            rank=rank,
            objective="kl",
            start="zero",
            steps=steps,
            step_tokens=len(data_ids),
            evaluate_every=steps,
            on_step=note,
        )
        return {"seconds": np.diff(ends).tolist(), "losses": losses}

    def healing_steps(removed: int, train: list[str], sequences: int, steps: int) -> dict[str, Any]:
        """Steps of training of weights that were kept, on all sequences of the data."""
        ids = np.array(data_ids).reshape(sequences, -1)
        return timed(model, ids, removed, train, steps)

    def closed_form(blocks: list[int], rank: int, stream: Any) -> int:
        adapters = model.recover(without_attention(blocks), data, rank=rank, stream=stream)
        return len(adapters.sublayers)

    return {
        "training_steps": training_steps,
        "closed_form": closed_form,
        "healing_steps": healing_steps,
        "evaluate": evaluate,
        "score": score,
        "without_head": without_head,
        "influences": influences,
        "static": static,
        "magnitude": magnitude,
        "leave_one_out": leave_one_out,
        "shapley": shapley,
        "coalitions": coalitions,
        "generate": generate,
        "write": write,
        "loss_without": loss_without,
    }
