# SPDX-License-Identifier: Apache-2.0
"""Recovery: a training step against PyTorch, the closed form against a forward pass, memory."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.harness.models import SHAPES, file_bytes
from benchmarks.harness.record import Bench
from benchmarks.harness.turns import Answer, MeasurementError, Worker, in_turns, ratios
from benchmarks.speed.parts.forward import OURS, TORCH, TORCH_FP32

MODEL = "246M"
BLOCKS = list(range(1, SHAPES[MODEL].blocks, 2))  # eight, spread over the model
RANK = 16
LENGTH, SEQUENCES = 1024, 2  # of a step
STEPS = 4  # of ours in each round; the first one begins a call, and is not timed
SAME_DIVERGENCE = 0.05  # relative: both begin from adapters that add nothing
AUTOCAST = "torch bf16 autocast"


def training(bench: Bench) -> None:
    """A step of KL distillation into rank-16 adapters for eight removed attention layers."""
    wanted = {
        OURS: bench.ours(MODEL, LENGTH, "bfloat16", sequences=SEQUENCES),
        TORCH_FP32: bench.torch(MODEL, LENGTH, "float32"),
        AUTOCAST: bench.torch(MODEL, LENGTH, "float32"),
        TORCH: bench.torch(MODEL, LENGTH, "bfloat16"),
    }

    def ours(side: Worker) -> Answer:
        found = side.ask("training_steps", blocks=BLOCKS, rank=RANK, steps=STEPS)["value"]
        return {"seconds": statistics.median(found["seconds"]), "value": found["losses"][0]}

    def theirs(side: Worker, autocast: bool) -> Answer:
        wanted = {"blocks": BLOCKS, "rank": RANK, "sequences": SEQUENCES, "autocast": autocast}
        answer = side.ask("training_step", **wanted)
        return {"seconds": answer["seconds"], "value": answer["value"][0]}

    with bench.running(wanted) as sides:
        tasks: dict[str, Any] = {
            OURS: lambda: ours(sides[OURS]),
            TORCH_FP32: lambda: theirs(sides[TORCH_FP32], False),
            AUTOCAST: lambda: theirs(sides[AUTOCAST], True),
            # Weights that are bf16 already need no cast: as fast as PyTorch gets.
            TORCH: lambda: theirs(sides[TORCH], True),
        }
        first = {name: task()["value"] for name, task in tasks.items()}
        answers = in_turns(tasks, min(bench.rounds, 3), 0)
        peak = sides[OURS].ask("peak_bytes")["value"]
    least, most = min(first.values()), max(first.values())
    if not most - least <= SAME_DIVERGENCE * most:
        raise MeasurementError(f"the sides find other divergences: {first}")
    what = f"training step, {len(BLOCKS)} attention layers, rank {RANK}, kl, {MODEL}"
    what += f", {SEQUENCES} x {LENGTH} tokens"
    taken = {name: bench.record.time(f"{what}: {name}", found) for name, found in answers.items()}
    for other, bar in ((TORCH_FP32, 3.0), (AUTOCAST, 1.3), (TORCH, 1.3)):
        row = f"{what}: {OURS} against {other}"
        bench.record.judge(row, ratios(taken[other], taken[OURS]), "{:.2f}x", least=bar)
    beyond = peak - file_bytes(bench.models / MODEL)
    bench.record.judge(
        f"{what}: peak memory beyond the weights", [beyond / 1e6], "{:.0f} MB", most=1000
    )


def closed_form(bench: Bench) -> None:
    """The closed form of the same adapters, solving included, against a forward pass with loss."""
    sequences = 16
    wanted = {OURS: bench.ours(MODEL, LENGTH, "bfloat16", sequences=sequences)}
    with bench.running(wanted) as sides:
        side = sides[OURS]
        tasks: dict[str, Any] = {"forward": lambda: side.ask("evaluate")}
        for stream in ("full_model", "recovered"):
            tasks[stream] = lambda stream=stream: side.ask(
                "closed_form", blocks=BLOCKS, rank=RANK, stream=stream
            )
        answers = in_turns(tasks, min(bench.rounds, 3), 0)
    what = f"{len(BLOCKS)} attention layers, rank {RANK}, {MODEL}, {sequences} x {LENGTH} tokens"
    taken = {name: bench.record.time(f"{name}, {what}", found) for name, found in answers.items()}
    for stream in ("full_model", "recovered"):
        row = f"closed form, stream {stream}, {what}: over a forward pass with loss"
        bench.record.judge(row, ratios(taken[stream], taken["forward"]), "{:.2f}x", most=1.6)
