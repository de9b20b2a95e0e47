# SPDX-License-Identifier: Apache-2.0
"""What merging blocks does to the loss, against removing as many without a merge.

    python -m benchmarks.search.merging [--model tales-12l|smollm2] [--out DIRECTORY]

On tales-12l and, where `make models` has fetched it, on SmolLM2-135M. Merges are looked for on the
first sequences of a text, and so are the blocks that greedy search and the cosine remove; losses
are of its last ones. All in fp32, so that the numbers are the same on every CPU. The exit status is
1 if a bar is missed. Writes merging_MODEL.json and .md.
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
from benchmarks.harness.places import REPOSITORY, RESULTS, TALES
from benchmarks.harness.record import Record, environment_notes

TEXT = TALES / "stories.jsonl"
LENGTH = 128
MERGES: dict[str, dict[str, Any]] = {
    "merged, running, f = 1 (released program)": {"rule": "running", "weight": 1.0},
    "merged, running, f = 0.5": {"rule": "running", "weight": 0.5},
    "merged, sum, f = 0.5": {"rule": "sum", "weight": 0.5},
    "merged, sum, f = 0.1": {"rule": "sum", "weight": 0.1},
}
SAME = 1e-9  # nats: losses of one model


@dataclass(frozen=True)
class Subject:
    """A model, how many blocks go, and the sequences that are looked at and measured on."""

    path: Path
    counts: tuple[int, ...]
    looked_at: int
    held_out: int
    merges: tuple[str, ...] = tuple(MERGES)
    is_searched: bool = True  # greedily, which takes as many runs as the square of the blocks

    def texts(self, model: pc.Model) -> tuple[pc.Data, pc.Data]:
        """The first sequences of the text, and the last."""
        whole = pc.Data.from_text(TEXT, model, LENGTH)
        return whole[: self.looked_at], whole[len(whole) - self.held_out :]


SUBJECTS = {
    # 10 sequences of 128 tokens are what the paper takes (arXiv 2502.19159).
    "tales-12l": Subject(TALES, (1, 2, 3, 4), 10, 40),
    "smollm2": Subject(
        REPOSITORY / "build" / "models" / "smollm2.gguf",
        (2, 4),
        2,
        8,
        ("merged, running, f = 1 (released program)", "merged, sum, f = 0.1"),
        is_searched=False,
    ),
}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its seconds."""
    begin = time.perf_counter()
    return work(), time.perf_counter() - begin


def measured(model: pc.Model, name: str, count: int) -> list[dict[str, Any]]:
    """One row per way to remove `count` blocks."""
    looked_at, held_out = SUBJECTS[name].texts(model)
    rows: list[dict[str, Any]] = []

    def add(what: str, mask: pc.Mask, seconds: float, **more: Any) -> None:
        with model.edited(mask) as edited:
            loss = edited.evaluate(held_out, mask).loss
            size = edited.cost(mask).parameter_bytes
        plain = model.evaluate(held_out, mask.keep).loss
        rows.append(
            {
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

    for what in SUBJECTS[name].merges:
        options = MERGES[what]
        found, seconds = timed(
            lambda options=options: model.merge_blocks(looked_at, remove=count, **options)
        )
        add(what, found.mask, seconds, similarity=found.similarity, threshold=found.threshold)
    if SUBJECTS[name].is_searched:
        greedy, seconds = timed(lambda: model.search(looked_at, "greedy", "block", remove=count))
        add("removed, greedy", pc.Mask(greedy.mask.keep), seconds)
    scores, seconds = timed(lambda: model.score(looked_at, "cosine", granularity="block"))
    add("removed, cosine", scores.prune(count), seconds)
    return rows


def identity(model: pc.Model, name: str, record: Record) -> None:
    """That a running merge of f = 1 is the top block under the norms of the lowest."""
    looked_at, _ = SUBJECTS[name].texts(model)
    top = model.shape.n_blocks - 2
    mask = pc.Mask.remove([f"block.{top}", f"block.{top - 1}"], model.shape.n_blocks)
    low, run = top - 2, {"kind": "merge", "weight": 1, "rule": "running"}
    several = {**run, "into": low, "from": [top - 1, top]}
    alone = {**run, "into": low, "from": [top]}
    losses = []
    for edit in (several, alone):
        with model.edited([edit]) as edited:
            losses.append(edited.evaluate(looked_at, mask.keep).loss)
    what = f"{name}: running merge of 3 blocks with f = 1, loss from that of the top block alone"
    record.judge(what, [abs(losses[0] - losses[1])], "{:.1e} nats", most=SAME)


def page(name: str, whole: dict[str, Any], rows: list[dict[str, Any]], record: Record) -> list[str]:
    """The page of a model, but for what is said of the machine."""
    subject = SUBJECTS[name]
    head = ["blocks gone", "how", "which", "loss", "same, not merged", "MB", "seconds"]
    cells = [
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
    ]
    return [
        f"# Merged blocks of {name}",
        "",
        f"fp32; merges and removals chosen on {subject.looked_at} sequences of {LENGTH} tokens of "
        f"{TEXT.name}, losses in nats per token on {subject.held_out} other sequences of it.",
        f"Made by `python -m benchmarks.search.merging --model {name}`.",
        "",
        *report.bar_table(record.rows),
        f"Loss of the whole model {whole['loss']:.4f}, weights {whole['bytes'] / 1e6:.1f} MB.",
        "",
        *report.table(head, cells),
    ]


def run(name: str, out: Path) -> int:
    """Measures one model, writes both results, and returns the exit status."""
    status = 0
    subject, record, notes = SUBJECTS[name], Record(), environment_notes()
    rows: list[dict[str, Any]] = []
    with pc.open(subject.path, "float32") as model:
        loss = model.evaluate(subject.texts(model)[1]).loss
        whole = {"loss": loss, "bytes": model.cost().parameter_bytes}
        identity(model, name, record)
        for count in subject.counts:
            rows += measured(model, name, count)
            # What is found is kept: more blocks take longer.
            results = record.results(**notes, whole=whole, merges=rows)
            lines = [*page(name, whole, rows, record), *report.footer(results)]
            status = report.publish(f"merging_{name}", results, "\n".join(lines), out)
    return status


def main() -> int:
    """Measures what was asked for, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SUBJECTS, help="only this one")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    names = [arguments.model] if arguments.model else list(SUBJECTS)
    return max([run(n, arguments.out) for n in names if SUBJECTS[n].path.exists()], default=0)


if __name__ == "__main__":
    sys.exit(main())
