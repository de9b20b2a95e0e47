# SPDX-License-Identifier: Apache-2.0
"""What merging blocks does to the loss, against removing as many without a merge.

    python -m benchmarks.search.merging [--model tales-12l|smollm2] [--out DIRECTORY]

On tales-12l and, where `make models` has fetched it, on SmolLM2-135M. Merges are looked for on 10
sequences of 128 tokens, as in the paper (arXiv 2502.19159), and so are the blocks that greedy
search and the cosine remove; losses are of other documents of the same texts. All in fp32, so that
the numbers are the same on every CPU. The exit status is 1 if a bar is missed. Writes merging.json
and merging.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prunecore as pc

from benchmarks.harness import report
from benchmarks.harness.places import REPOSITORY, RESULTS
from benchmarks.harness.record import Record, environment_notes

TALES = REPOSITORY / "examples" / "models" / "tales-12l"
MODELS = {"tales-12l": TALES, "smollm2": REPOSITORY / "build" / "models" / "smollm2.gguf"}
COUNTS = {"tales-12l": (1, 2, 3, 4), "smollm2": (1, 2, 4, 6)}
TEXT = "stories.jsonl"
LENGTH, SEQUENCES = 128, 10
MERGES: dict[str, dict[str, Any]] = {
    "merged, running, f = 1 (released program)": {"rule": "running", "weight": 1.0},
    "merged, running, f = 0.5": {"rule": "running", "weight": 0.5},
    "merged, sum, f = 0.5": {"rule": "sum", "weight": 0.5},
    "merged, sum, f = 0.1": {"rule": "sum", "weight": 0.1},
}
SAME = 1e-9  # nats: losses of one model


@dataclass(frozen=True)
class Texts:
    """What is looked at, and what is measured on."""

    calibration: pc.Data
    held_out: pc.Data

    @classmethod
    def read(cls, model: pc.Model) -> Texts:
        """The first sequences of the text, and the last 40."""
        whole = pc.Data.from_text(TALES / TEXT, model, LENGTH)
        return cls(whole[:SEQUENCES], whole[len(whole) - 40 :])


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its seconds."""
    begin = time.perf_counter()
    return work(), time.perf_counter() - begin


def measured(model: pc.Model, name: str, count: int) -> list[dict[str, Any]]:
    """One row per way to remove `count` blocks."""
    texts = Texts.read(model)
    rows: list[dict[str, Any]] = []

    def add(what: str, mask: pc.Mask, seconds: float, **more: Any) -> None:
        with model.edited(mask) as edited:
            loss = edited.evaluate(texts.held_out, mask).loss
            size = edited.cost(mask).parameter_bytes
        plain = model.evaluate(texts.held_out, mask.keep).loss
        rows.append(
            {
                "model": name,
                "removed": count,
                "what": what,
                "blocks": [int(each[5:]) for each in mask.removed if each.startswith("attn")],
                "loss": loss,
                "same_blocks_without_merge": plain,
                "bytes": size,
                "seconds": seconds,
                **more,
            }
        )
        print(f"{name}, {count}: {what}: {loss:.4f}", file=sys.stderr, flush=True)

    for what, options in MERGES.items():
        found, seconds = timed(
            lambda options=options: model.merge_blocks(texts.calibration, remove=count, **options)
        )
        add(what, found.mask, seconds, similarity=found.similarity, threshold=found.threshold)
    greedy, seconds = timed(
        lambda: model.search(texts.calibration, "greedy", "block", remove=count)
    )
    add("removed, greedy", pc.Mask(greedy.mask.keep), seconds)
    scores, seconds = timed(lambda: model.score(texts.calibration, "cosine", granularity="block"))
    add("removed, cosine", scores.prune(count), seconds)
    return rows


def identity(model: pc.Model, name: str, record: Record) -> None:
    """That a running merge of f = 1 is the top block under the norms of the lowest."""
    texts = Texts.read(model)
    top = model.shape.n_blocks - 2
    mask = pc.Mask.remove([f"block.{top}", f"block.{top - 1}"], model.shape.n_blocks)
    low, run = top - 2, {"kind": "merge", "weight": 1, "rule": "running"}
    several = {**run, "into": low, "from": [top - 1, top]}
    alone = {**run, "into": low, "from": [top]}
    losses = []
    for edit in (several, alone):
        with model.edited([edit]) as edited:
            losses.append(edited.evaluate(texts.calibration, mask.keep).loss)
    what = f"{name}: running merge of 3 blocks with f = 1, loss from that of the top block alone"
    record.judge(what, [abs(losses[0] - losses[1])], "{:.1e} nats", most=SAME)


def tables(losses: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """A table for each model."""
    lines = []
    for name, whole in losses.items():
        lines += [
            f"## {name}",
            "",
            f"Loss of the whole model {whole['loss']:.4f}, weights {whole['bytes'] / 1e6:.1f} MB.",
            "",
        ]
        head = ["blocks gone", "how", "which", "loss", "same, not merged", "MB", "seconds"]
        lines += report.table(
            head,
            [
                [
                    str(row["removed"]),
                    row["what"],
                    ", ".join(map(str, row["blocks"])),
                    f"{row['loss']:.4f}",
                    f"{row['same_blocks_without_merge']:.4f}" if "similarity" in row else "",
                    f"{row['bytes'] / 1e6:.1f}",
                    f"{row['seconds']:.2f}",
                ]
                for row in rows
                if row["model"] == name
            ],
        )
    return lines


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, help="only this one")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    record, notes = Record(), environment_notes()
    losses: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for name, path in MODELS.items():
        if arguments.model not in (None, name) or not path.exists():
            continue
        with pc.open(path, "float32") as model:
            whole = model.evaluate(Texts.read(model).held_out)
            losses[name] = {"loss": whole.loss, "bytes": model.cost().parameter_bytes}
            identity(model, name, record)
            for count in COUNTS[name]:
                rows += measured(model, name, count)
    results = record.results(**notes, whole=losses, merges=rows)
    lines = [
        "# Merged blocks",
        "",
        f"fp32; merges and removals chosen on {SEQUENCES} sequences of {LENGTH} tokens of {TEXT}, "
        "losses in nats per token on 40 other sequences of it.",
        "Made by `python -m benchmarks.search.merging`.",
        "",
        *report.bar_table(record.rows),
        *tables(losses, rows),
        *report.footer(results),
    ]
    return report.publish("merging", results, "\n".join(lines), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
