# SPDX-License-Identifier: Apache-2.0
"""How much of the machine is used: its arithmetic, its memory bandwidth, its cores, its memory."""

from __future__ import annotations

from benchmarks.harness import models
from benchmarks.harness.models import SHAPES
from benchmarks.harness.record import Bench
from benchmarks.harness.turns import in_turns, ratios
from benchmarks.speed.parts import probes
from benchmarks.speed.parts.forward import OURS, TORCH


def matrix_peak(bench: Bench) -> None:
    """Useful operations a second of the 1.1B forward, over the best of large products."""
    model, tokens = "1.1B", 2048
    shape = SHAPES[model]
    sizes = [(tokens, n, k) for n, k in sorted(set(shape.block_matrices.values()))]
    sizes += [(2048, 2048, 2048), (4096, 4096, 4096), (tokens, shape.vocabulary // 4, shape.hidden)]
    wanted = {
        OURS: bench.ours(model, tokens, "bfloat16"),
        # Of the 246M model nothing is used: the worker is asked for products alone.
        TORCH: bench.torch("246M", 2, "bfloat16"),
    }
    with bench.running(wanted) as sides, probes.built() as probe:
        answers = in_turns(
            {
                "forward": lambda: sides[OURS].ask("evaluate"),
                "products": lambda: sides[TORCH].ask("product_rates", sizes=sizes),
                "own products": lambda: probe.product_rates(bench.threads, sizes),
                "instructions": lambda: probe.dot_rate(bench.threads),
            },
            bench.rounds,
            1,
        )
    operations = shape.forward_operations(tokens)
    ours = [operations / answer["seconds"] for answer in answers["forward"]]
    best = [max(answer["value"]) for answer in answers["products"]]
    record, what = bench.record, f"{model}, {tokens} tokens, {bench.threads} threads"
    for side, task in ((TORCH, "products"), (OURS, "own products")):
        if answers[task][0]["value"] is None:
            record.notes[f"product rates, {side}"] = "not measured: the CPU has no avx512_bf16"
            continue
        record.notes[f"product rates in GFLOP/s, {side}"] = {
            " x ".join(map(str, size)): round(max(a["value"][i] for a in answers[task]) / 1e9)
            for i, size in enumerate(sizes)
        }
    record.judge(f"{what}: useful rate of the forward", [v / 1e9 for v in ours], "{:.0f} GFLOP/s")
    record.judge("best bf16 product of oneDNN", [v / 1e9 for v in best], "{:.0f} GFLOP/s")
    own = [max(answer["value"]) for answer in answers["own products"] if answer["value"]]
    if own:
        record.judge(
            "best bf16 product of ours, packing included", [v / 1e9 for v in own], "{:.0f} GFLOP/s"
        )
    name = f"{what}: share of the bf16 matrix peak (best product of oneDNN)"
    record.judge(name, ratios(ours, best), "{:.1%}", least=0.75)
    limit = [answer["value"] for answer in answers["instructions"] if answer["value"] is not None]
    if not limit:
        record.notes["bf16 instruction limit"] = "not measured: the CPU has no avx512_bf16"
        return
    # What the instructions reach is a constant of the machine: less is something else that ran.
    most = max(limit)
    record.judge("bf16 dot-product instructions alone, most", [most / 1e9], "{:.0f} GFLOP/s")
    record.judge(f"{what}: share of that", [v / most for v in ours], "{:.1%}")


def decode(bench: Bench) -> None:
    """Bytes of weights a second that decoding one sequence reads, over what the memory gives.

    The memory of a shared machine gives twice as much in some seconds as in others. So it is read
    for half a second before decoding and after it: the mean of both is what decoding could have.
    """
    model, prompt, new = "1.1B", 16, 32
    shape = SHAPES[model]
    with (
        bench.running({OURS: bench.ours(model, prompt, "bfloat16")}) as sides,
        probes.built() as probe,
    ):
        answers = in_turns(
            {
                "before": lambda: probe.read_rate(bench.threads),
                "decode": lambda: sides[OURS].ask("generate", prompt_tokens=prompt, new_tokens=new),
                "after": lambda: probe.read_rate(bench.threads),
            },
            bench.rounds,
            1,
        )
    made = [answer["value"] for answer in answers["decode"]]
    speeds = [found["tokens"] / found["seconds"] for found in made]
    rates = [speed * shape.bytes_read_per_token for speed in speeds]
    around = [
        (before["value"], after["value"])
        for before, after in zip(answers["before"], answers["after"], strict=True)
    ]
    memory = [(before[1] + after[1]) / 2 for before, after in around]
    best = [max(before[0], after[0]) for before, after in around]
    record, what = bench.record, f"decode, {model}, one sequence"
    record.judge(what, speeds, "{:.2f} tokens/s")
    record.judge(f"{what}: weights read", [v / 1e9 for v in rates], "{:.1f} GB/s")
    record.judge("memory read bandwidth, mean", [v / 1e9 for v in memory], "{:.1f} GB/s")
    record.judge("memory read bandwidth, best pass", [v / 1e9 for v in best], "{:.1f} GB/s")
    name = f"{what}: share of the memory read bandwidth"
    record.judge(f"{name}, mean before and after", ratios(rates, memory), "{:.1%}", least=0.85)
    record.judge(f"{name}, best pass of the round", ratios(rates, best), "{:.1%}")


def two_threads(bench: Bench) -> None:
    """The 246M forward on two threads against one."""
    model, tokens = "246M", 1024
    with bench.running({OURS: bench.ours(model, tokens, "bfloat16")}) as sides:
        counts = {"1 thread": 1, "2 threads": 2}
        tasks = {
            name: lambda n=count: sides[OURS].ask("evaluate", on_threads=n)
            for name, count in counts.items()
        }
        answers = in_turns(tasks, bench.rounds, 1)
    what = f"{model}, {tokens} tokens"
    taken = {name: bench.record.time(f"{what}: {name}", found) for name, found in answers.items()}
    found = ratios(taken["1 thread"], taken["2 threads"])
    bench.record.judge(f"{what}: two threads against one", found, "{:.2f}x", least=1.8)


def memory(bench: Bench) -> None:
    """Peak resident memory of a process that opens the 1.1B model and evaluates 2,048 tokens."""
    model, tokens = "1.1B", 2048
    wanted = bench.ours(model, tokens, "bfloat16")
    weights = models.file_bytes(wanted["model"])
    with bench.running({OURS: wanted}) as sides:
        opened = sides[OURS].ask("peak_bytes")["value"]
        sides[OURS].ask("evaluate")
        peak = sides[OURS].ask("peak_bytes")["value"]
    what = f"{model}, {tokens} tokens: peak resident memory"
    bench.record.judge(f"{what}: after open", [opened / 1e6], "{:.0f} MB")
    bench.record.judge(f"{what}: of the weights' files", [weights / 1e6], "{:.0f} MB")
    beyond = [(peak - weights) / 1e6]
    bench.record.judge(f"{what}: beyond the weights' files", beyond, "{:.0f} MB", most=400)
