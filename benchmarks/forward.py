# SPDX-License-Identifier: Apache-2.0
"""How fast a forward pass with loss is, what scoring adds to it, and how much memory it takes.

    python benchmarks/forward.py [--rounds N] [--threads N] [--out DIRECTORY]

Makes a random Llama (width 1024, 16 blocks, 32,000 tokens of vocabulary), stored in fp32 and in
bf16, and runs one sequence of 1,024 tokens through PruneCore and through transformers, in turns, so
that both meet the same state of the machine. A comparison is made twice, by the median of the
ratios of each round and by the shortest times, and the one worse for PruneCore counts. The exit
status is 1 if a bar is missed.

OPENBLAS_CORETYPE is taken out of the environment of all workers, and its value recorded: it makes
OpenBLAS use other kernels than those that fit the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import report

HERE = Path(__file__).resolve().parent
UNSET = ("OPENBLAS_CORETYPE",)
SAME_LOSS = 1e-4  # nats
WARM_UP = 2
PAUSE = 0.3  # seconds: idle threads of the other side stop spinning
STORAGES = ("float32", "bfloat16")

FASTER_THAN_TORCH_FP32 = 1.8
SCORING_ADDS_AT_MOST = 0.10
MEMORY_BEYOND_WEIGHTS = 500e6  # bytes


class Worker:
    """A measuring process: see worker.py."""

    def __init__(self, side: str, model: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            worker_command(side, model, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.ready: dict[str, Any] = self._answer()["ready"]

    def ask(self, command: str) -> dict[str, Any]:
        """Has one command done; returns its seconds and its value."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process and waits for it."""
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended early: {' '.join(self._process.args)}")
        return json.loads(line)


def worker_command(side: str, model: Path, threads: int) -> list[str]:
    """The command line of a worker."""
    return [sys.executable, str(HERE / "worker.py"), side, str(model), str(threads)]


def environment() -> dict[str, str]:
    """The environment of the workers."""
    return {name: value for name, value in os.environ.items() if name not in UNSET}


def measure_speed(models: Path, threads: int, rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Runs all workers in turns; returns what each is, and the timings by worker and command."""
    workers = {"torch fp32": Worker("torch-float32", models / "float32", threads)}
    workers["torch bf16"] = Worker("torch-bfloat16", models / "bfloat16", threads)
    for storage in STORAGES:
        workers[f"prunecore {storage}"] = Worker("prunecore", models / storage, threads)
    tasks = [
        (name, command)
        for name in workers
        for command in (
            ("evaluate", "score", "score_one_pass", "blocks_only")
            if name.startswith("prunecore")
            else ("evaluate",)
        )
    ]
    timings: dict[str, Any] = {f"{name}: {command}": [] for name, command in tasks}
    values: dict[str, float] = {}
    for number in range(WARM_UP + rounds):
        # Every other round goes backwards, so that a drift of the machine favours nobody.
        for name, command in tasks if number % 2 == 0 else reversed(tasks):
            time.sleep(PAUSE)
            answer = workers[name].ask(command)
            values[f"{name}: {command}"] = answer["value"]
            if number >= WARM_UP:
                timings[f"{name}: {command}"].append(answer["seconds"])
    for storage in STORAGES:
        same_loss(values["torch fp32: evaluate"], values[f"prunecore {storage}: evaluate"], storage)
    described = {name: worker.ready for name, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    return described, {name: summary(seconds) for name, seconds in timings.items()}


def same_loss(wanted: float, found: float, storage: str) -> None:
    """Stops if the two sides did not compute the same thing; both files hold the same numbers."""
    if not abs(wanted - found) <= SAME_LOSS:
        raise SystemExit(f"prunecore {storage} finds loss {found}, transformers {wanted}")


def summary(seconds: list[float]) -> dict[str, Any]:
    """Median, extremes, and the times themselves."""
    return {
        "median": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "seconds": seconds,
    }


def measure_memory(models: Path, threads: int) -> dict[str, dict[str, int]]:
    """Peak resident bytes of fresh processes: one that only evaluates, one that also scores."""
    found = {}
    for storage in STORAGES:
        files = (models / storage).glob("*.safetensors")
        found[storage] = {"weights": sum(file.stat().st_size for file in files)}
        for name, commands in {"evaluate": ["evaluate"], "score": ["evaluate", "score"]}.items():
            worker = Worker("prunecore", models / storage, threads)
            if name == "evaluate":
                found[storage]["open"] = worker.ask("peak_bytes")["value"]
            for command in commands:
                worker.ask(command)
            found[storage][name] = worker.ask("peak_bytes")["value"]
            worker.close()
    return found


def ratios(timings: dict[str, Any], over: str, under: str) -> tuple[float, float]:
    """Median of the ratios of every round, and the ratio of the shortest times.

    What slows the machine for a whole round cancels in the first; what slows it for less than that,
    such as other programs, hardly touches the second.
    """
    a, b = timings[over]["seconds"], timings[under]["seconds"]
    paired = statistics.median(x / y for x, y in zip(a, b, strict=True))
    return paired, min(a) / min(b)


def bars(timings: dict[str, Any], memory: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """What was asked for, what was found, and whether it is enough; None where nothing is asked."""
    found = []

    def add(name: str, bar: str, value: str, met: bool | None) -> None:
        found.append({"name": name, "bar": bar, "found": value, "met": met})

    for storage in STORAGES:
        ours = f"prunecore {storage}"
        speedup = min(ratios(timings, "torch fp32: evaluate", f"{ours}: evaluate"))
        scoring = max(ratios(timings, f"{ours}: score", f"{ours}: evaluate")) - 1
        headless = max(ratios(timings, f"{ours}: score", f"{ours}: blocks_only")) - 1
        beyond = max(memory[storage]["evaluate"], memory[storage]["score"])
        beyond -= memory[storage]["weights"]
        add(
            f"{storage} weights: forward and loss, against PyTorch fp32",
            f">= {FASTER_THAN_TORCH_FP32}x",
            f"{speedup:.2f}x",
            speedup >= FASTER_THAN_TORCH_FP32,
        )
        add(
            f"{storage} weights: all static metrics, beyond forward and loss",
            f"<= {SCORING_ADDS_AT_MOST:.0%}",
            f"{scoring:+.1%}",
            scoring <= SCORING_ADDS_AT_MOST,
        )
        # Scoring needs no logits, so that this says more about what it costs.
        add(
            f"{storage} weights: all static metrics, beyond forward without head",
            "recorded",
            f"{headless:+.1%}",
            None,
        )
        add(
            f"{storage} weights: peak resident memory beyond the weights",
            f"<= {MEMORY_BEYOND_WEIGHTS / 1e6:.0f} MB",
            f"{beyond / 1e6:.0f} MB",
            beyond <= MEMORY_BEYOND_WEIGHTS,
        )
    return found


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds, at least 5")
    parser.add_argument("--threads", type=int, default=2, help="threads of both sides")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where results go")
    arguments = parser.parse_args()
    if arguments.rounds < 5:
        parser.error("--rounds must be at least 5")
    machine = report.machine()
    with tempfile.TemporaryDirectory() as directory:
        models = Path(directory)
        command = worker_command("make", models, arguments.threads)
        subprocess.run(command, check=True, env=environment())
        memory = measure_memory(models, arguments.threads)
        sides, timings = measure_speed(models, arguments.threads, arguments.rounds)
    results = {
        "machine": machine,
        "removed_from_environment": {n: os.environ[n] for n in UNSET if n in os.environ},
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "sides": sides,
        "timings": timings,
        "memory": memory,
        "bars": bars(timings, memory),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = report.markdown(results)
    (arguments.out / "forward.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "forward.md").write_text(text)
    print(text)
    missed = [bar for bar in results["bars"] if bar["met"] is False]
    for bar in missed:
        print(f"missed: {bar['name']}: {bar['found']}, asked {bar['bar']}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
