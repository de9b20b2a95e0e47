# SPDX-License-Identifier: Apache-2.0
"""How much of the lost loss adapters win back on tales-12l, and from which calibration text.

    python -m benchmarks.recovery.recovery [--held-out FILE] [--steps N] [--objectives kl,ce,mse,js]
                                  [--only CASE,CASE] [--out DIRECTORY]

Removes sublayers by least leave-one-out loss, calibrates on the texts that the model wrote itself,
and measures held-out text of three kinds: FILE, a JSON object of kind to list of texts that people
wrote, or, without one, documents of the model's own that are kept aside. With FILE, one half of it
also serves as calibration text, against as much of the model's own, and the other half is held out.
The exit status is 1 if a bar is missed. Writes recovery.json and recovery.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
from prunecore.data.text import load_tokenizer, tokenize

from benchmarks.harness import report
from benchmarks.harness.places import RESULTS, TALES
from benchmarks.harness.record import Record, environment_notes

KINDS = ("stories", "maths", "plays")
LENGTH = 256
RANK = 16
SCORED = 8  # sequences of each kind that choose what is removed
OWN_HELD_OUT = 40  # of 240 documents of each kind, where no other text is given


@dataclass(frozen=True)
class Case:
    """What is removed, and the bars for bias, closed form and training, as shares."""

    granularity: pc.Granularity
    count: int
    bias: float | None = None
    closed_form: float | None = None
    trained: float | None = None

    @property
    def name(self) -> str:
        return f"{self.count} {self.granularity}"


CASES = (
    Case("attention", 4, 0.05, 0.30, 0.52),
    Case("feed_forward", 4, 0.05, 0.33, 0.50),
    Case("block", 3, 0.05, 0.25, 0.45),
    Case("attention", 8, trained=0.55),
)


def texts(kind: str) -> list[str]:
    """Documents that the model wrote."""
    lines = (TALES / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def packed(documents: dict[str, list[str]]) -> dict[str, pc.Data]:
    """Documents of each kind, one after the other, cut into sequences of one length."""
    tokenizer = load_tokenizer(TALES)
    made = {}
    for kind, some in documents.items():
        ids = np.concatenate([tokenize(tokenizer, text) for text in some])
        rows = ids[: len(ids) // LENGTH * LENGTH].reshape(-1, LENGTH)
        made[kind] = pc.Data(list(rows))
    return made


def mean_loss(model: pc.Model, data: dict[str, pc.Data], mask: Any = None) -> float:
    """Mean over the kinds of the loss on each."""
    return float(np.mean([model.evaluate(own, mask).loss for own in data.values()]))


@dataclass
class Bench:
    """A model, its texts, and what was found."""

    model: pc.Model
    calibration: pc.Data
    held_out: dict[str, pc.Data]
    record: Record
    steps: int
    objectives: list[str]
    rows: list[dict[str, Any]]

    def mask(self, case: Case) -> pc.Mask:
        """By least leave-one-out loss on the calibration text."""
        spread = np.linspace(0, len(self.calibration) - 1, len(KINDS) * SCORED).astype(int)
        scored = self.calibration.select(spread.tolist())
        scores = self.model.score(scored, "leave_one_out_loss", case.granularity)
        return scores.prune(case.count)

    def share(
        self, case: Case, mask: pc.Mask, losses: tuple[float, float], name: str, **how: Any
    ) -> float:
        """The share of the lost loss that some adapters win back."""
        data = how.pop("data", self.calibration)
        began = time.monotonic()
        adapters = self.model.recover(mask, data, **how)
        seconds = time.monotonic() - began
        with adapters.attach(self.model) as recovered:
            loss = mean_loss(recovered, self.held_out)
        full, pruned = losses
        share = (pruned - loss) / (pruned - full)
        row = {"case": case.name, "how": name, "loss": loss, "share": share, "seconds": seconds}
        self.rows.append({**row, "full": full, "pruned": pruned})
        print(f"{case.name}: {name}: loss {loss:.4f}, {share:.1%}, {seconds:.1f} s", flush=True)
        return share

    def judge(self, case: Case, what: str, share: float, bar: float | None) -> None:
        self.record.judge(f"{case.name} removed: {what}", [share], "{:.1%}", least=bar)

    def measure(self, case: Case) -> None:
        """All ways to recover one case."""
        mask = self.mask(case)
        losses = mean_loss(self.model, self.held_out), mean_loss(self.model, self.held_out, mask)
        low_rank = {"kind": "low_rank", "rank": RANK}
        trained = {**low_rank, "steps": self.steps, "step_tokens": 2048}
        found = self.share(case, mask, losses, "bias", kind="bias")
        self.judge(case, "bias", found, case.bias)
        found = self.share(case, mask, losses, "rank 16, closed form", **low_rank)
        self.judge(case, "rank 16, closed form", found, case.closed_form)
        if case.granularity == "block":
            what = "rank 16, closed form, an adapter for each sublayer"
            found = self.share(case, mask, losses, what, **low_rank, block_slot="both")
            self.judge(case, what, found, case.closed_form)
        self.share(case, mask, losses, "linear, closed form", kind="linear")
        for objective in self.objectives:
            starts = {}
            for start in ("zero", "closed_form"):
                name = f"rank 16, {objective} from {start}, {self.steps} steps"
                how = {**trained, "objective": objective, "start": start}
                starts[start] = self.share(case, mask, losses, name, **how)
            if objective == "kl":
                what = f"rank 16, kl, {self.steps} steps"
                self.judge(case, what, starts["closed_form"], case.trained)
            ahead = starts["closed_form"] - starts["zero"]
            self.judge(case, f"{objective} from the closed form, ahead of zero", ahead, 0.0)

    def compare_calibration(self, case: Case, real: pc.Data, own: pc.Data) -> None:
        """Adapters from text of people against those from as much text of the model's own."""
        mask = self.mask(case)
        losses = mean_loss(self.model, self.held_out), mean_loss(self.model, self.held_out, mask)
        shares = {}
        for name, data in (("real", real), ("own", own)):
            how = {"data": data, "kind": "low_rank", "rank": RANK}
            what = f"rank 16, closed form from {len(data)} sequences of {name} text"
            shares[name] = self.share(case, mask, losses, what, **how)
        behind = shares["real"] - shares["own"]
        what = f"{case.name} removed: closed form, real text ahead of the model's own"
        self.record.judge(what, [behind], "{:.1%}", most=0.03)


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    head = ["removed", "adapters", "held-out loss", "won back", "seconds"]
    lines = [
        "# Recovery",
        "",
        f"tales-12l; calibrated on text that it wrote itself, {results['calibration']} sequences "
        f"of {LENGTH} tokens; held-out text: {results['text']}. Loss of the full model "
        f"{results['rows_found'][0]['full']:.3f}. "
        "Made by `python -m benchmarks.recovery.recovery`.",
        "",
        *report.bar_table(results["rows"]),
    ]
    cells, seen = [], set()
    for row in results["rows_found"]:
        if row["case"] not in seen:
            seen.add(row["case"])
            cells.append([row["case"], "none", f"{row['pruned']:.3f}", "0.0%", ""])
        share = f"{row['share']:.1%}"
        cells.append(
            [row["case"], row["how"], f"{row['loss']:.3f}", share, f"{row['seconds']:.1f}"]
        )
    return "\n".join([*lines, *report.table(head, cells)])


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--held-out", type=Path, help="JSON: kind to list of texts")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--objectives", default="kl", help="of training, with commas between")
    parser.add_argument("--compute", choices=["float32", "bfloat16"], help="default: as opened")
    parser.add_argument("--only", help="cases to measure, such as '4 attention,3 block'")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    own = {kind: texts(kind) for kind in KINDS}
    real_half: pc.Data | None = None
    with pc.open(TALES, compute=arguments.compute) as model:
        if arguments.held_out is None:
            held_out = packed({kind: some[-OWN_HELD_OUT:] for kind, some in own.items()})
            own = {kind: some[:-OWN_HELD_OUT] for kind, some in own.items()}
        else:
            given = json.loads(arguments.held_out.read_text(encoding="utf-8"))
            held_out = packed({kind: given[kind] for kind in KINDS})
            halves = packed({kind: given[kind][::2] for kind in KINDS})
            real_half = pc.Data.concatenate(halves.values())
            other_halves = packed({kind: given[kind][1::2] for kind in KINDS})
        calibration = pc.Data.concatenate(packed(own).values())
        objectives = arguments.objectives.split(",")
        bench = Bench(model, calibration, held_out, Record(), arguments.steps, objectives, [])
        only = None if arguments.only is None else arguments.only.split(",")
        cases = [case for case in CASES if only is None or case.name in only]
        for case in cases:
            bench.measure(case)
        if real_half is not None:
            bench.held_out = other_halves
            some = np.linspace(0, len(calibration) - 1, len(real_half)).astype(int)
            for case in cases:
                bench.compare_calibration(case, real_half, calibration.select(some.tolist()))
        compute = model.shape.compute
    results = {
        **environment_notes(),
        "text": "of people" if arguments.held_out else f"{OWN_HELD_OUT} documents of each kind",
        "compute": compute,
        "steps": arguments.steps,
        "calibration": len(calibration),
        "rows": bench.record.rows,
        "rows_found": bench.rows,
    }
    return report.publish("recovery", results, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
