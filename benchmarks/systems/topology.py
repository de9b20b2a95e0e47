# SPDX-License-Identifier: Apache-2.0
"""Blocks cut by persistent topological features, against those of the lowest cosine influence.

    python -m benchmarks.systems.topology [--out DIRECTORY]

Prompts are the first tokens of documents of three texts; losses are on other documents of these.
Writes topology.json and topology.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc

from benchmarks.harness import report
from benchmarks.harness.places import RESULTS
from benchmarks.harness.record import Record, environment_notes
from benchmarks.systems.parts.subjects import TEXTS, documents, present

PROMPTS = 40  # of each text
PROMPT_TOKENS = 24
HELD_OUT = 8  # of each text
HELD_OUT_TOKENS = 64
RATIOS = (0.9, 0.8)
MOST_SECONDS = 60  # on tales-12l


def measure(name: str, path: Path, record: Record) -> dict[str, Any]:
    """The topology of a model, and what its cuts cost."""
    with pc.open(path) as model:
        prompts = pc.Data.concatenate(
            [documents(model, text, PROMPT_TOKENS, 0, PROMPTS) for text in TEXTS]
        )
        held_out = pc.Data.concatenate(
            [documents(model, text, HELD_OUT_TOKENS, PROMPTS, HELD_OUT) for text in TEXTS]
        )
        stages: dict[str, float] = {}
        last = time.monotonic()

        def told(stage: str, *_step: object) -> None:
            nonlocal last
            now = time.monotonic()
            stages[stage] = stages.get(stage, 0.0) + now - last
            last = now

        began, busy = time.monotonic(), time.process_time()
        found = model.topology(prompts, progress=told)
        seconds, busy = time.monotonic() - began, time.process_time() - busy
        cosine = model.score(prompts, "cosine", "block")
        cuts = {}
        for ratio in RATIOS:
            mask = found.cut(ratio)
            count = len(mask.removed) // 2
            other = cosine.prune(count)
            cuts[f"{ratio}"] = {
                "topology": described(model, held_out, mask),
                "cosine": described(model, held_out, other),
            }
        whole = described(model, held_out, None)
    most = MOST_SECONDS if name == "tales-12l" else None
    record.judge(
        f"{name}, {len(prompts)} prompts: the whole chain", [seconds], "{:.1f} s", most=most
    )
    return {
        "model": name,
        "prompts": len(prompts),
        "bars": len(found.bars),
        "betti": found.betti.tolist(),
        "mean_similarity": np.round(found.mean_similarity, 4).tolist(),
        "seconds": seconds,
        "processor_seconds": busy,
        "zigzag_seconds": stages.get("zigzag", 0.0),
        "whole": whole,
        "cuts": cuts,
    }


def described(model: pc.Model, data: pc.Data, mask: pc.Mask | None) -> dict[str, Any]:
    """Loss and bytes under a mask."""
    blocks = [] if mask is None else sorted({int(name.split(".")[1]) for name in mask.removed})
    return {
        "blocks": blocks,
        "loss": model.evaluate(data, mask).loss,
        "parameter_bytes": model.cost(mask).parameter_bytes,
    }


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Topology",
        "",
        f"{PROMPTS} prompts of {PROMPT_TOKENS} tokens from each of three texts, 5 neighbours; "
        f"losses on {HELD_OUT} other documents of each, {HELD_OUT_TOKENS} tokens at most.",
        "Made by `python -m benchmarks.systems.topology`.",
        "",
        *report.bar_table(results["rows"]),
    ]
    cells = []
    for found in results["models"]:
        whole = found["whole"]
        name, bytes_ = found["model"], f"{whole['parameter_bytes']:,}"
        cells.append([name, "nothing", "", f"{whole['loss']:.4f}", bytes_])
        for ratio, ways in found["cuts"].items():
            for how, cut in ways.items():
                words = f"topology, P = {ratio}" if how == "topology" else "cosine, as many"
                blocks = ", ".join(map(str, cut["blocks"]))
                cells.append(
                    [name, words, blocks, f"{cut['loss']:.4f}", f"{cut['parameter_bytes']:,}"]
                )
    head = ["model", "cut by", "blocks cut", "loss (nats per token)", "bytes of weights"]
    lines += report.table(head, cells)
    cells = [
        [
            found["model"],
            str(found["bars"]),
            f"{min(found['betti'])} to {max(found['betti'])}",
            f"{found['seconds']:.1f}",
            f"{found['processor_seconds']:.1f}",
            f"{found['zigzag_seconds']:.1f}",
        ]
        for found in results["models"]
    ]
    timed = ["seconds", "processor seconds", "seconds of the zigzag"]
    head = ["model", "loops in the barcode", "loops of a layer", *timed]
    lines += report.table(head, cells)
    return "\n".join([*lines, *report.footer(results)])


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    record = Record()
    notes = environment_notes()
    models = [measure(name, path, record) for name, path in present().items()]
    results = record.results(**notes, library=f"prunecore {pc.__version__}", models=models)
    return report.publish("topology", results, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
