# SPDX-License-Identifier: Apache-2.0
"""What sharing weights with low-rank deltas stores and loses, against removal with adapters.

    python -m benchmarks.recovery.sharing [--only tales-12l,smollm2] [--steps N] [--step-tokens N]
                                          [--out DIRECTORY]

Each model is measured as it is; without some feed-forwards; with adapters in their places, in
closed form and trained; and with more feed-forwards that share the weights of earlier ones, with
deltas in closed form (base as it is or scaled, one rank or the same bytes by budget) and
trained. Bytes are those of the exported weights. smollm2 is skipped where
build/models/smollm2.gguf is not there (`make models`).
The exit status is 1 if a bar is missed. Writes sharing.json and sharing.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc

from benchmarks.harness import report
from benchmarks.harness.places import REPOSITORY, RESULTS, TALES
from benchmarks.harness.record import Record, environment_notes

LENGTH = 256
HELD_OUT = 40  # documents of each kind
SAVED = 0.20  # of the bytes of the model, at least
SMOLLM = REPOSITORY / "build" / "models" / "smollm2.gguf"


@dataclass(frozen=True)
class Case:
    """A model, its texts, and what is removed or shared; sizes fit the same bytes."""

    name: str
    path: Path
    kinds: tuple[str, ...]
    metric: str  # by which feed-forwards are chosen
    sequences: int  # that closed forms learn from, and that losses are measured on
    held_out: int
    removed: int
    adapter_rank: int
    shared: int
    rank: int
    trains: bool


CASES = (
    Case(
        "tales-12l", TALES, ("stories", "maths", "plays"), "leave_one_out_loss",
        sequences=96, held_out=24, removed=4, adapter_rank=16, shared=8, rank=48, trains=True,
    ),
    Case(
        "smollm2", SMOLLM, ("stories",), "relative_l2",
        sequences=16, held_out=6, removed=11, adapter_rank=64, shared=16, rank=128, trains=False,
    ),
)  # fmt: skip


@dataclass
class Bench:
    """A case under way."""

    case: Case
    model: pc.Model
    text: pc.Data
    held_out: pc.Data
    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def row(
        self,
        how: str,
        model: pc.Model,
        mask: pc.Mask | None,
        adapters: pc.Adapters | None,
        seconds: float,
    ) -> dict[str, Any]:
        """Measures a way: its loss, and the bytes that it is stored in."""
        loss = model.evaluate(self.held_out, mask, adapters=adapters).loss
        place = self.folder / f"{len(self.rows)}"
        kept = pc.Mask.all(model.shape.n_blocks) if mask is None else mask
        model.export(place, kept if adapters is None else None, adapters, "hf_custom")
        stored = sum(file.stat().st_size for file in place.glob("*.safetensors"))
        whole = self.rows[0]["bytes"] if self.rows else stored
        self.rows.append(
            {
                "case": self.case.name,
                "how": how,
                "loss": loss,
                "bytes": stored,
                "saved": 1 - stored / whole,
                "seconds": seconds,
            }
        )
        found = self.rows[-1]
        print(f"{self.case.name}: {how}: loss {loss:.4f}, {found['saved']:.1%} saved", flush=True)
        return found


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its seconds."""
    began = time.monotonic()
    found = call()
    return found, time.monotonic() - began


def texts(case: Case, model: pc.Model) -> tuple[pc.Data, pc.Data]:
    """Text to learn from, spread over all kinds, and text kept aside."""
    learnt, aside = [], []
    for kind in case.kinds:
        data = pc.Data.from_text(TALES / f"{kind}.jsonl", model, sequence_length=LENGTH)
        learnt.append(data[: -HELD_OUT or None])
        aside.append(data[-HELD_OUT:])
    return pc.Data.concatenate(learnt), pc.Data.concatenate(aside)


def spread(data: pc.Data, count: int) -> pc.Data:
    """Some sequences from all over the data."""
    return data.select(np.linspace(0, len(data) - 1, count).astype(int).tolist())


def measure(bench: Bench, record: Record, training: dict[str, Any]) -> None:
    """All ways of a case."""
    case, model = bench.case, bench.model
    some = spread(bench.text, case.sequences)
    scored = spread(bench.text, max(4, case.sequences // 4))
    scores = model.score(scored, case.metric, "feed_forward")
    bench.row("the model", model, None, None, 0.0)
    removal, sharing = scores.prune(case.removed), scores.prune(case.shared)
    bench.row(f"{case.removed} feed-forwards removed", model, removal, None, 0.0)
    low_rank = {"kind": "low_rank", "rank": case.adapter_rank}
    name = f"{case.removed} removed, adapters of rank {case.adapter_rank}"
    made, seconds = timed(lambda: model.recover(removal, some, **low_rank))
    bench.row(f"{name}, closed form", model, removal, made, seconds)
    if case.trains:
        made, seconds = timed(lambda: model.recover(removal, bench.text, **low_rank, **training))
        bench.row(f"{name}, trained", model, removal, made, seconds)
    name = f"{case.shared} share weights, rank {case.rank}"
    deltas = {"rank": case.rank, "base": "best"}
    made, seconds = timed(lambda: model.share(sharing, some, **deltas))
    bench.row(f"{name}, closed form", made.model, None, None, seconds)
    even, seconds = timed(lambda: model.share(sharing, some, scaled=True, **deltas))
    closed = bench.row(f"{name}, scaled, closed form", even.model, None, None, seconds)
    budget = {**deltas, "rank": None, "bytes": even.summary.bytes_shared}
    made, seconds = timed(lambda: model.share(sharing, some, scaled=True, **budget))
    name_of_budget = f"{case.shared} share weights, scaled, the same bytes by budget"
    bench.row(name_of_budget, made.model, None, None, seconds)
    found = closed
    for first_share in (0.5, 1.0) if case.trains else ():
        how_made = {**deltas, "scaled": True, "first_share": first_share, **training}
        made, seconds = timed(partial(model.share, sharing, bench.text, **how_made))
        how = "trained progressively" if first_share < 1 else "trained, all from the start"
        found = bench.row(f"{name}, scaled, {how}", made.model, None, None, seconds)
        record.judge(
            f"{case.name}: loss that training takes off, {how}", [closed["loss"] - found["loss"]],
            "{:.3f}", least=0.0,
        )  # fmt: skip
    record.judge(f"{case.name}: bytes saved by sharing", [found["saved"]], "{:.1%}", least=SAVED)
    reopened(bench, record, even)


def reopened(bench: Bench, record: Record, shared: pc.Shared) -> None:
    """An export opened again, by PruneCore and by transformers, against one another."""
    place = bench.folder / "reopened"
    whole = pc.Mask.all(bench.model.shape.n_blocks)
    shared.model.export(place, whole, format="hf_custom")
    data = pc.Data([sequence[:32] for sequence in bench.held_out[:1].sequences])
    with pc.open(place, "float32") as again:
        checked = again.verify_export(place, whole, data=data)
    record.judge(
        f"{bench.case.name}: logits of transformers, relative difference",
        [checked.difference if checked.difference is not None else np.inf], "{:.1e}", most=1e-5,
    )  # fmt: skip


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Sharing weights",
        "",
        "Feed-forwards of least influence; held-out text that tales-12l wrote itself, calibrated "
        f"on other such text. Training: kl, {results['steps']} steps of {results['step_tokens']} "
        "tokens. Bytes are those of the exported weights (hf_custom; quantised ones become bf16). "
        "Made by `python -m benchmarks.recovery.sharing`.",
        "",
        *report.bar_table(results["rows"]),
    ]
    head = ["model", "how", "held-out loss", "bytes", "saved", "seconds"]
    cells = [
        [
            row["case"],
            row["how"],
            f"{row['loss']:.3f}",
            f"{row['bytes']:,}",
            f"{row['saved']:.1%}",
            f"{row['seconds']:.1f}" if row["seconds"] else "",
        ]
        for row in results["rows_found"]
    ]
    return "\n".join([*lines, *report.table(head, cells)])


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="models to measure, such as 'tales-12l'")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--step-tokens", type=int, default=2048, help="of training")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    only = None if arguments.only is None else arguments.only.split(",")
    record, rows = Record(), []
    training = {
        "objective": "kl", "steps": arguments.steps, "step_tokens": arguments.step_tokens,
    }  # fmt: skip
    for case in CASES:
        if only is not None and case.name not in only:
            continue
        if not case.path.exists():
            print(f"{case.name}: skipped, {case.path} is not there (make models)", flush=True)
            continue
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            model = stack.enter_context(pc.open(case.path))
            text, aside = texts(case, model)
            bench = Bench(case, model, text, spread(aside, case.held_out), folder)
            measure(bench, record, training)
            rows += bench.rows
    results = {
        **environment_notes(),
        "steps": arguments.steps,
        "step_tokens": arguments.step_tokens,
        "rows": record.rows,
        "rows_found": rows,
    }
    kept = json.loads(json.dumps(results))
    return report.publish("sharing", kept, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
