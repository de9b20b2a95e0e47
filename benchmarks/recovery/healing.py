# SPDX-License-Identifier: Apache-2.0
"""How much of the lost loss comes back when weights that were kept are trained: two recipes.

    python -m benchmarks.recovery.healing [--only tales-12l,SmolLM2-135M] [--door library|torch]
                                  [--steps N] [--threads N] [--out DIRECTORY]

"Reassessing layer pruning" (arXiv 2411.15558) drops the tail, and trains head, final norm and the
last blocks on the text. "Minitron" (arXiv 2408.11796) drops the window that harms a task least,
and distils the logits of the whole model. The task here is to tell how a sequence goes on, among
four ways. SmolLM2-135M is build/models/smollm2.gguf (`make models`); it learns from the pages of
docs/, tales-12l from texts that it wrote. Writes healing.json and healing.md, of the models that
are measured: those of an earlier run stay.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc

from benchmarks.harness import environment, report
from benchmarks.harness.places import REPOSITORY, RESULTS, TALES

CANDIDATES = 4
SMOLLM2 = REPOSITORY / "build" / "models" / "smollm2.gguf"


@dataclass(frozen=True)
class Case:
    """A model, its text, and how long it is trained."""

    name: str
    files: tuple[Path, ...]
    length: int  # of sequences, in tokens
    sequences: int
    held_out: int
    questions: int
    removed: int
    steps: int
    looks: int  # at the held-out loss
    batch_sequences: int
    learning_rate: float
    distilled: tuple[str, ...]
    compares: bool  # with other windows, and with a corrected teacher


CASES = (
    Case(
        name="tales-12l",
        files=tuple(TALES / f"{kind}.jsonl" for kind in ("stories", "maths", "plays")),
        length=128,
        sequences=264,
        held_out=24,
        questions=16,
        removed=3,
        steps=40,
        looks=6,
        batch_sequences=8,
        learning_rate=1e-3,
        distilled=("all",),
        compares=True,
    ),
    Case(
        name="SmolLM2-135M",
        files=tuple(sorted((REPOSITORY / "docs").glob("*.md"))),
        length=64,
        sequences=160,
        held_out=8,
        questions=8,
        removed=6,
        steps=24,
        looks=3,
        batch_sequences=8,
        learning_rate=5e-4,
        distilled=("norms", "last:6"),
        compares=False,
    ),
)


@contextmanager
def opened(case: Case, door: str, threads: int) -> Iterator[tuple[Any, Any]]:
    """The model through a door, and as the library has it."""
    with tempfile.TemporaryDirectory() as folder:
        directory = TALES
        if case.name != "tales-12l":
            directory = Path(folder) / "smollm2"
            with pc.open(SMOLLM2) as stored:  # of a quantised file, weights become bf16
                stored.export(directory, format="hf_plain")
        with pc.open(directory) as library:
            if door == "library":
                yield library, library
                return
            import torch
            from prunecore.torch import wrap
            from transformers import AutoModelForCausalLM

            torch.set_num_threads(threads)
            module = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
            with wrap(module) as wrapped:
                yield wrapped, library


def texts(case: Case, tokenizer: Any) -> tuple[pc.Data, pc.Data]:
    """Calibration sequences, and held-out ones from all over the text."""
    data = pc.Data.from_text(list(case.files), tokenizer, case.length, limit=case.sequences, seed=0)
    aside = np.linspace(0, len(data) - 1, case.held_out).astype(int).tolist()
    rest = sorted(set(range(len(data))) - set(aside))
    return data.select(rest), data.select(aside)


def questions(data: pc.Data, count: int) -> pc.ChoiceData:
    """Which of four halves is the second one of a sequence: an order by seed."""
    random = np.random.default_rng(0)
    chosen = random.permutation(len(data))[: count * CANDIDATES].reshape(count, CANDIDATES)
    halves = [np.array_split(row, 2) for row in data.sequences]
    answers = random.integers(0, CANDIDATES, count).tolist()
    return pc.ChoiceData(
        [halves[row[answer]][0] for row, answer in zip(chosen, answers, strict=True)],
        [[halves[index][1] for index in row] for row in chosen],
        answers,
        "mean",
    )


def measure(case: Case, door: str, steps: int, threads: int) -> dict[str, Any]:
    """All rows of one model."""
    rows: list[dict[str, Any]] = []
    with opened(case, door, threads) as (model, library):
        data, held_out = texts(case, library)
        asked = questions(data, case.questions)
        full = library.evaluate(held_out).loss
        common = {
            "steps": steps,
            "batch_sequences": case.batch_sequences,
            "learning_rate": case.learning_rate,
            "held_out": held_out,
            "evaluate_every": max(1, steps // case.looks),
        }

        def search(strategy: str, on: pc.Data, **options: Any) -> pc.Mask:
            found = library.search(on, strategy, "block", remove=case.removed, **options)
            return pc.Mask(found.mask.keep)

        def heal(mask: pc.Mask, what: str, **options: Any) -> None:
            pruned = library.evaluate(held_out, mask).loss
            began = time.monotonic()
            healed = model.heal(data, mask, **{**common, **options})
            seconds = time.monotonic() - began
            with healed.model as own:
                loss, accuracy = own.evaluate(held_out).loss, own.evaluate_choices(asked).accuracy
                cost = own.cost()  # a head that was untied included
            rows.append(
                {
                    "what": what,
                    "blocks": ", ".join(
                        sorted({n.partition(".")[2] for n in mask.removed}, key=int)
                    ),
                    "bytes": cost.parameter_bytes,
                    "pruned": pruned,
                    "pruned_accuracy": library.evaluate_choices(asked, mask).accuracy,
                    "loss": loss,
                    "accuracy": accuracy,
                    "share": (pruned - loss) / (pruned - full),
                    "trained": healed.trained_parameters,
                    "seconds": seconds,
                }
            )
            print(f"{case.name}: {what}: {pruned:.3f} -> {loss:.3f}, {seconds:.0f} s", flush=True)

        tail = search("tail", held_out)
        by_task = search("window", asked, measure="choice_loss")
        partial = {"train": ["head", "final_norm", "last:3"], "untie_head": True}
        distilled = {"train": case.distilled, "objective": "kl"}
        heal(tail, "tail; head, final norm and last 3 blocks on ce (Reassessing)", **partial)
        heal(tail, "tail; final norm and last 3 blocks on ce", train=["final_norm", "last:3"])
        named = " and ".join(case.distilled)
        heal(by_task, f"window by choice loss; {named} on kl (Minitron)", **distilled)
        if case.compares:
            by_distance = search("window", data[:16], metric="angular")
            if by_distance != by_task:
                heal(by_distance, f"window by angular distance; {named} on kl", **distilled)
            corrected = model.heal(data, pc.Mask.all(model.shape.n_blocks), **{
                **common, "train": "all", "learning_rate": case.learning_rate / 5,
            })  # fmt: skip
            with corrected.model as teacher:
                what = f"window by choice loss; {named} on kl, teacher corrected"
                heal(by_task, what, **distilled, teacher=teacher)
        return {
            "name": case.name,
            "door": door,
            "full": full,
            "full_accuracy": library.evaluate_choices(asked).accuracy,
            "full_bytes": library.cost().parameter_bytes,
            "removed": case.removed,
            "steps": steps,
            "sequences": len(data),
            "length": case.length,
            "batch_sequences": case.batch_sequences,
            "learning_rate": case.learning_rate,
            "machine": environment.machine(),
            "rows": rows,
        }


def markdown(models: list[dict[str, Any]]) -> str:
    """The page."""
    lines = [
        "# Healing",
        "",
        "Held-out loss, in nats, and accuracy in telling which of four halves is the second one of "
        "a sequence (on",
        "sequences of the calibration text), before and after weights that were kept are trained.",
        "Bytes are those of the weights that are left, as the model holds them.",
        "Made by `python -m benchmarks.recovery.healing`.",
        "",
    ]
    for found in models:
        lines += [
            f"## {found['name']}",
            "",
            f"{found['removed']} blocks removed; {found['steps']} steps of "
            f"{found['batch_sequences']} of {found['sequences']} sequences of {found['length']} "
            f"tokens, learning rate "
            f"{found['learning_rate']:g}, through the door `{found['door']}`.",
            f"The whole model: loss {found['full']:.3f}, accuracy {found['full_accuracy']:.0%}, "
            f"{found['full_bytes'] / 1e6:.1f} MB.",
            "",
        ]
        head = ["removed; trained", "blocks", "loss before", "after", "won back", "accuracy before"]
        head += ["after", "trained", "MB", "s"]
        cells = [
            [
                *(row["what"], row["blocks"], f"{row['pruned']:.3f}", f"{row['loss']:.3f}"),
                *(f"{row['share']:.0%}", f"{row['pruned_accuracy']:.0%}", f"{row['accuracy']:.0%}"),
                *(f"{row['trained'] / 1e6:.2f} M", f"{row['bytes'] / 1e6:.1f}"),
                f"{row['seconds']:.0f}",
            ]
            for row in found["rows"]
        ]
        lines += [*report.table(head, cells), f"- {environment.described(found['machine'])}", ""]
    return "\n".join(lines)


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="models, with commas between")
    parser.add_argument("--door", choices=["library", "torch"], default="library")
    parser.add_argument("--steps", type=int, help="of training; default: of each model its own")
    parser.add_argument("--threads", type=int, default=environment.processors())
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    pc.set_threads(arguments.threads)
    only = None if arguments.only is None else arguments.only.split(",")
    place = arguments.out / "healing.json"
    known = {}
    if place.exists():
        known = {found["name"]: found for found in json.loads(place.read_text())["models"]}
    for case in CASES:
        if only is not None and case.name not in only:
            continue
        if case.name != "tales-12l" and not SMOLLM2.exists():
            print(f"{case.name} is not there: make models", file=sys.stderr)
            continue
        known[case.name] = measure(
            case, arguments.door, arguments.steps or case.steps, arguments.threads
        )
    found = [known[case.name] for case in CASES if case.name in known]
    return report.publish("healing", {"rows": [], "models": found}, markdown(found), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
