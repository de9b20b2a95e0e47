# SPDX-License-Identifier: Apache-2.0
"""Many masks of one model: leave-one-out, and the coalitions of a Shapley game.

PyTorch evaluates the same masks one by one, without the sublayers that they leave out. Only some of
its passes are timed, and what they took is scaled.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.harness.models import SHAPES
from benchmarks.harness.record import Bench
from benchmarks.harness.turns import Answer, MeasurementError, Worker, in_turns, ratios
from benchmarks.speed.parts.forward import OURS, SAME_LOSS, TORCH

SAMPLED_DEPTHS = 4
SAMPLED_MASKS = 12


def leave_one_out(bench: Bench) -> None:
    """All 44 sublayers of the 1.1B model, 512 tokens."""
    model, tokens = "1.1B", 512
    shape = SHAPES[model]
    # In the middle of each quarter of the model.
    depths = [shape.blocks * (2 * i + 1) // (2 * SAMPLED_DEPTHS) for i in range(SAMPLED_DEPTHS)]
    left_out = [2 * depth + kind for depth in depths for kind in (0, 1)]

    def loop(side: Worker) -> Answer:
        """The whole model, and without some sublayers, which stand for those of their kind."""
        whole = side.ask("evaluate")
        seconds, influences = whole["seconds"], {}
        for kind in (0, 1):
            alike = [u for u in left_out if u % 2 == kind]
            answers = [side.ask("evaluate", keep=without(shape.sublayers, u)) for u in alike]
            seconds += shape.blocks * statistics.fmean(a["seconds"] for a in answers)
            for u, answer in zip(alike, answers, strict=True):
                influences[u] = answer["value"] - whole["value"]
        return {"seconds": seconds, "value": influences}

    wanted = {
        OURS: bench.ours(model, tokens, "bfloat16"),
        TORCH: bench.torch(model, tokens, "bfloat16"),
    }
    with bench.running(wanted) as sides:
        for side in sides.values():
            side.ask("evaluate")
        loss = sides[OURS].ask("evaluate")["value"]
        tasks = {OURS: lambda: sides[OURS].ask("leave_one_out"), TORCH: lambda: loop(sides[TORCH])}
        answers = in_turns(tasks, min(bench.rounds, 3), 0)
    what = f"leave-one-out, {shape.sublayers} sublayers, {model}, {tokens} tokens"
    ours, theirs = answers[OURS][-1]["value"], answers[TORCH][-1]["value"]
    same([ours[u] for u in left_out], [theirs[u] for u in left_out], loss)
    note = f"1 + {len(left_out)} of {1 + shape.sublayers} passes timed in each round, and scaled"
    bench.record.notes[f"{TORCH}: {what}"] = note
    taken = {name: bench.record.time(f"{what}: {name}", found) for name, found in answers.items()}
    row = f"{what}: {OURS} against the loop over {TORCH}"
    bench.record.judge(row, ratios(taken[TORCH], taken[OURS]), "{:.2f}x", least=2.5)


def shapley(bench: Bench) -> None:
    """512 coalitions of the default estimator over 32 sublayers, 246M model, 256 tokens."""
    model, tokens, budget = "246M", 256, 512
    wanted = {
        OURS: bench.ours(model, tokens, "bfloat16"),
        TORCH: bench.torch(model, tokens, "bfloat16"),
    }
    with bench.running(wanted) as sides:
        game = sides[OURS].ask("coalitions", budget=budget)["value"]
        masks, losses = game["masks"], game["losses"]
        # One after the other by the sublayers that they keep: few and many are timed alike.
        order = sorted(range(len(masks)), key=lambda i: sum(masks[i]))
        step = len(masks) / SAMPLED_MASKS
        sample = [order[int((i + 0.5) * step)] for i in range(SAMPLED_MASKS)]
        kept = sum(map(sum, masks)), sum(sum(masks[i]) for i in sample)
        nothing = [0] * SHAPES[model].sublayers

        def loop(side: Worker) -> Answer:
            """A time for each mask that does not depend on it, and one for each sublayer kept."""
            least = side.ask("evaluate", keep=nothing)["seconds"]
            answers = [side.ask("evaluate", keep=masks[i]) for i in sample]
            each = sum(answer["seconds"] - least for answer in answers) / kept[1]
            seconds = len(masks) * least + kept[0] * each
            return {"seconds": seconds, "value": [answer["value"] for answer in answers]}

        loop(sides[TORCH])
        tasks = {
            OURS: lambda: sides[OURS].ask("shapley", budget=budget),
            TORCH: lambda: loop(sides[TORCH]),
        }
        answers = in_turns(tasks, min(bench.rounds, 3), 0)
    what = f"Shapley, {len(masks)} coalitions of {len(nothing)} sublayers, {model}, {tokens} tokens"
    theirs: list[float] = answers[TORCH][-1]["value"]
    same([losses[i] for i in sample], theirs, max(losses))
    note = f"{SAMPLED_MASKS} of {len(masks)} masks timed in each round, scaled by sublayers kept"
    bench.record.notes[f"{TORCH}: {what}"] = note
    taken = {name: bench.record.time(f"{what}: {name}", found) for name, found in answers.items()}
    row = f"{what}: {OURS} against the loop over {TORCH}"
    bench.record.judge(row, ratios(taken[TORCH], taken[OURS]), "{:.2f}x", least=2.0)


def without(sublayers: int, left_out: int) -> list[int]:
    """A keep mask that lacks one sublayer."""
    return [int(u != left_out) for u in range(sublayers)]


def same(ours: list[Any], theirs: list[Any], loss: float) -> None:
    """Raises if two lists of losses, or of their differences, are apart by more than rounding."""
    apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    if not apart <= 2 * SAME_LOSS * loss:
        raise MeasurementError(f"losses of the two sides are up to {apart:.1e} nats apart")
