# SPDX-License-Identifier: Apache-2.0
"""The benchmark's results as a page of text, and the machine that they belong to."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path
from typing import Any

from worker import SHAPE, TOKENS


def machine() -> dict[str, Any]:
    """The CPU, its cores and what else they did, the system, Python and the day."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    parts = [f"{key} {cpu[key].strip()}" for key in ("cpu family", "model") if key in cpu]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": ", ".join([cpu.get("model name", platform.machine()).strip(), *parts]),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": pages,
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table with columns of one width."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, ["-" * width for width in widths], *rows]
    ]
    return [*lines, ""]


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    where, sides = results["machine"], results["sides"]
    runtime = sides["prunecore float32"]["runtime"]
    torch = sides["torch fp32"]
    removed = results["removed_from_environment"]
    return "\n".join(
        [
            "# Forward pass, scoring and memory",
            "",
            f"Llama of width {SHAPE['hidden_size']}, {SHAPE['num_hidden_layers']} blocks, "
            f"feed-forward {SHAPE['intermediate_size']}, {SHAPE['num_attention_heads']} heads "
            f"({SHAPE['num_key_value_heads']} of keys), {SHAPE['vocab_size']} tokens of "
            "vocabulary, random weights;",
            f"one sequence of {TOKENS} tokens; {results['threads']} threads for both sides; "
            f"median of {results['rounds']} rounds in turns.",
            "Compared by the median of the ratios of each round and by the shortest times; "
            "the worse for PruneCore counts. Made by `python benchmarks/forward.py`.",
            *busy(results["timings"]),
            "",
            *table(
                ["what", "bar", "found", "met"],
                [[b["name"], b["bar"], b["found"], MET[b["met"]]] for b in results["bars"]],
            ),
            *timing_table(results["timings"]),
            *memory_table(results["memory"]),
            f"- machine: {where['cpu']}, {where['cores']} cores, "
            f"{where['memory_bytes'] / 2**30:.0f} GiB, load {where['load_before']} before; "
            f"{where['system']}; {where['date']}",
            f"- prunecore {sides['prunecore float32']['prunecore']}: {runtime['blas']}; kernels "
            f"{runtime['blas_kernels']}; CPU {runtime['cpu_features']}",
            f"- advice of the library: {runtime['advice'] or 'none'}",
            f"- torch {torch['torch']}, transformers {torch['transformers']}, attention "
            f"{torch['attention']}; Python {where['python']}",
            "- removed from the environment: "
            + (", ".join(f"{name}={value}" for name, value in removed.items()) or "nothing"),
            "",
        ]
    )


def busy(timings: dict[str, Any]) -> list[str]:
    """A warning, if the times of some work are too far apart to be the machine's own."""
    spread = max(timing["most"] / timing["least"] for timing in timings.values())
    if spread <= QUIET:
        return []
    return ["", f"**The machine was busy: times of the same work differ up to {spread:.1f}-fold.**"]


def timing_table(timings: dict[str, Any]) -> list[str]:
    """Every timing, and how many times as fast as PyTorch in fp32 it is."""
    reference = timings["torch fp32: evaluate"]["median"]
    rows = []
    for name, timing in timings.items():
        side, command = name.split(": ")
        seconds = [f"{timing[key]:.3f}" for key in ("median", "least", "most")]
        ratio = f"{reference / timing['median']:.2f}x"
        rows.append([side, COMMANDS[command], *seconds, f"{TOKENS / timing['median']:.0f}", ratio])
    head = ["side", "work", "median s", "least s", "most s", "tokens/s", "against PyTorch fp32"]
    return table(head, rows)


QUIET = 1.4  # longest over shortest time of the same work
MET = {True: "yes", False: "NO", None: ""}
COMMANDS = {
    "evaluate": "forward and loss",
    "score": "score, the default: all static metrics",
    "score_one_pass": "score without magnitude",
    "blocks_only": "forward without head (last hidden state)",
}


def memory_table(memory: dict[str, dict[str, int]]) -> list[str]:
    """Peak resident memory in MB."""
    columns = ("weights", "open", "evaluate", "score")
    rows = [
        [storage, *(f"{found[column] / 1e6:.0f}" for column in columns)]
        for storage, found in memory.items()
    ]
    head = ["weights in", "of weights, MB", "after open", "after forward and loss", "after scoring"]
    return table(head, rows)
