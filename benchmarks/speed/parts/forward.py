# SPDX-License-Identifier: Apache-2.0
"""Forward passes with loss, and what scoring adds to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import prunecore as pc

from benchmarks.harness.record import Bench
from benchmarks.harness.turns import MeasurementError, Worker, in_turns, ratios

WARM_UP = 2
COMPILE_SECONDS = 300.0
OURS, OURS_FP32 = "prunecore bf16", "prunecore fp32"
TORCH, TORCH_FP32, COMPILED = "torch bf16", "torch fp32", "torch bf16 compiled"
# Between two losses of one model, relative: rounding to bf16 in other places.
SAME_LOSS = 2e-3


def small(bench: Bench) -> None:
    """246M parameters, 1,024 tokens: speed against transformers, and the cost of static metrics."""
    model, tokens = "246M", 1024
    wanted = {
        OURS: bench.ours(model, tokens, "bfloat16"),
        OURS_FP32: bench.ours(model, tokens, "float32"),
        TORCH: bench.torch(model, tokens, "bfloat16"),
        TORCH_FP32: bench.torch(model, tokens, "float32"),
        COMPILED: bench.torch(model, tokens, "bfloat16", compiled=True),
    }
    with bench.running(wanted) as sides:
        compiled = compiles(bench, sides, f"{model} {tokens} tokens")
        tasks: dict[str, Any] = {
            name: lambda w=worker: w.ask("evaluate")
            for name, worker in sides.items()
            if compiled or name != COMPILED
        }
        tasks["without head"] = lambda: sides[OURS].ask("without_head")
        for granularity in pc.GRANULARITIES:
            tasks[f"score {granularity}"] = lambda g=granularity: sides[OURS].ask(
                "score", granularity=g
            )
        answers = in_turns(tasks, bench.rounds, WARM_UP)
    record, what = bench.record, f"{model}, {tokens} tokens"
    taken = {name: record.time(f"{what}: {name}", found) for name, found in answers.items()}
    same_loss({name: found[-1]["value"] for name, found in answers.items() if name in wanted})
    compare(bench, what, taken, OURS, {TORCH: 1.5, TORCH_FP32: 4.0, COMPILED: None})
    compare(bench, what, taken, OURS_FP32, {TORCH_FP32: 1.8})
    for plain, name in ((OURS, "with loss"), ("without head", "without head")):
        # The granularity that costs most, in every round.
        added = [
            max(taken[f"score {g}"][i] for g in pc.GRANULARITIES) / taken[plain][i] - 1
            for i in range(bench.rounds)
        ]
        row = f"{what}: all static metrics, dearest granularity, beyond the forward {name}"
        record.judge(row, added, "{:.1%}", most=0.05)


def large(bench: Bench) -> None:
    """1.1B parameters, 2,048 tokens: speed against transformers, time to open, memory."""
    model, tokens = "1.1B", 2048
    wanted = {
        OURS: bench.ours(model, tokens, "bfloat16"),
        TORCH: bench.torch(model, tokens, "bfloat16"),
    }
    what = f"{model}, {tokens} tokens"
    with bench.running(wanted) as sides:
        for name, side in sides.items():
            first = side.ask("evaluate")["seconds"]
            for when, found in (("to open", side.ready["open_seconds"]), ("first pass", first)):
                bench.record.judge(f"{what}: {name}: {when}", [found], "{:.2f} s")
        answers = in_turns(
            {name: lambda w=worker: w.ask("evaluate") for name, worker in sides.items()},
            bench.rounds,
            WARM_UP - 1,
        )
    taken = {name: bench.record.time(f"{what}: {name}", found) for name, found in answers.items()}
    same_loss({name: found[-1]["value"] for name, found in answers.items()})
    compare(bench, what, taken, OURS, {TORCH: 1.5})


def compiles(bench: Bench, sides: Mapping[str, Worker], what: str) -> bool:
    """Whether torch.compile makes a model that runs, in time; the reason is recorded if not."""
    note = f"torch.compile, {what}"
    try:
        took = sides[COMPILED].ask("evaluate", limit=COMPILE_SECONDS)["seconds"]
    except MeasurementError as error:
        bench.record.notes[note] = f"left out: {error}"
        return False
    bench.record.notes[note] = f"first pass, compiling included: {took:.0f} s"
    return True


def compare(
    bench: Bench,
    what: str,
    taken: Mapping[str, list[float]],
    ours: str,
    bars: Mapping[str, float | None],
) -> None:
    """Adds how many times as fast as others a side of ours is; None = no bar."""
    for other, bar in bars.items():
        if other in taken:
            name = f"{what}: forward and loss, {ours} against {other}"
            bench.record.judge(name, ratios(taken[other], taken[ours]), "{:.2f}x", least=bar)


def same_loss(losses: Mapping[str, float]) -> None:
    """Raises if the sides did not compute the same thing."""
    least, most = min(losses.values()), max(losses.values())
    if not most - least <= SAME_LOSS * most:
        raise MeasurementError(f"the sides find other losses: {dict(losses)}")
