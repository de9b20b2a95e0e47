# SPDX-License-Identifier: Apache-2.0
"""How long leave-one-out takes over all sublayers, against the same loop over transformers.

    python benchmarks/leave_one_out.py [--rounds N] [--threads N] [--all-passes] [--out DIRECTORY]

The random Llama of forward.py (width 1024, 16 blocks, so 32 sublayers), stored in bf16, and one
sequence of 1,024 tokens. PruneCore is asked for the metric leave_one_out_loss; PyTorch, in fp32 and
in bf16, runs the model once whole and once without each sublayer: 33 passes with their loss. All
sides take turns in one run, and the median of the ratios of the rounds counts. The exit status is 1
if a bar is missed.

To save time PyTorch runs 9 of its 33 passes in a round, unless --all-passes is given: the whole
model, and without an attention layer and a feed-forward layer at 4 depths each. The passes of each
kind are alike, so that 16 times their mean stands for the 16 of them.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forward
import report
import worker

HERE = Path(__file__).resolve().parent
SUBLAYERS = 2 * worker.SHAPE["num_hidden_layers"]
DEPTHS = (2, 6, 9, 13)  # blocks whose sublayers PyTorch leaves out where it does not run all
STORAGE = "bfloat16"
OURS = "prunecore"
FASTER_THAN = {"torch fp32": 3.3, "torch bf16": 1.3}
# Influences, in nats. The model's losses are 10.5, of which fp32 keeps about 6 digits.
SAME_INFLUENCE = {"torch fp32": 1e-4, "torch bf16": 2e-2}


class Side(forward.Worker):
    """A measuring process: this script again."""

    def __init__(self, side: str, model: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).resolve()),
                "--side",
                side,
                str(model),
                str(threads),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=forward.environment(),
        )
        self.ready: dict[str, Any] = self._answer()["ready"]


def prunecore_side(directory: Path, threads: int) -> tuple[dict[str, Any], worker.Commands]:
    """The influence of every sublayer, by one call; and a forward pass with its loss."""
    import prunecore as pc

    pc.set_threads(threads)
    model = pc.open(directory)
    data = pc.Data([worker.token_ids().tolist()])

    def leave_one_out() -> list[float]:
        scores = model.score(data, metrics=["leave_one_out_loss"], granularity="sublayer")
        return [float(value) for value in scores["leave_one_out_loss"]]

    commands: worker.Commands = {
        "all": leave_one_out,
        "pass -1": lambda: model.evaluate(data).loss,
        "peak_bytes": worker.peak_bytes,
    }
    runtime = pc.runtime_info().to_dict()
    del runtime["library"]  # where it lies on this machine says nothing
    return {"prunecore": pc.__version__, "runtime": runtime}, commands


def torch_side(
    directory: Path, threads: int, precision: str
) -> tuple[dict[str, Any], worker.Commands]:
    """`pass u`: the loss without sublayer u; -1 = of the whole model."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=getattr(torch, precision)
    ).eval()
    ids = torch.from_numpy(worker.token_ids())[None]

    def loss(sublayer: int) -> float:
        with torch.inference_mode(), _without(model, sublayer):
            return model(ids, labels=ids, use_cache=False).loss.item()

    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "attention": model.config._attn_implementation,
        "threads": torch.get_num_threads(),
    }
    passes = {f"pass {u}": lambda u=u: loss(u) for u in range(-1, SUBLAYERS)}
    return versions, {**passes, "peak_bytes": worker.peak_bytes}


@contextmanager
def _without(model: Any, sublayer: int) -> Iterator[None]:
    """Has the block of a sublayer compute the other one alone; neither norm nor matrices run."""
    if sublayer < 0:
        yield
        return
    block = model.model.layers[sublayer // 2]

    def feed_forward_alone(hidden_states: Any, **_: Any) -> Any:
        return hidden_states + block.mlp(block.post_attention_layernorm(hidden_states))

    def attention_alone(hidden_states: Any, **rest: Any) -> Any:
        update, _ = block.self_attn(hidden_states=block.input_layernorm(hidden_states), **rest)
        return hidden_states + update

    block.forward = attention_alone if sublayer % 2 else feed_forward_alone
    try:
        yield
    finally:
        del block.forward


def passes_of(every: bool) -> list[int]:
    """The sublayers that PyTorch leaves out in a round; -1 = none."""
    some = [2 * depth + kind for depth in DEPTHS for kind in (0, 1)]
    return [-1, *(range(SUBLAYERS) if every else some)]


def whole_loop(seconds: dict[int, float]) -> float:
    """Seconds of all 33 passes from those that were run."""
    found = seconds[-1]
    for kind in (0, 1):
        alike = [
            took for sublayer, took in seconds.items() if sublayer % 2 == kind and sublayer >= 0
        ]
        found += SUBLAYERS // 2 * statistics.fmean(alike)
    return found


def measure(model: Path, threads: int, rounds: int, every: bool) -> dict[str, Any]:
    """Runs all sides in turns; returns what they are, their seconds and their influences."""
    sides = {OURS: Side(OURS, model, threads)}
    sides["torch fp32"] = Side("torch-float32", model, threads)
    sides["torch bf16"] = Side("torch-bfloat16", model, threads)
    for side in sides.values():
        side.ask("pass -1")
        side.ask("pass -1")
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    influences: dict[str, dict[int, float]] = {}
    for number in range(rounds):
        # Every other round goes backwards, so that a drift of the machine favours nobody.
        for name in sides if number % 2 == 0 else reversed(sides):
            time.sleep(forward.PAUSE)
            if name == OURS:
                answer = sides[name].ask("all")
                seconds[name].append(answer["seconds"])
                influences[name] = dict(enumerate(answer["value"]))
                continue
            answers = {u: sides[name].ask(f"pass {u}") for u in passes_of(every)}
            seconds[name].append(whole_loop({u: a["seconds"] for u, a in answers.items()}))
            influences[name] = {
                u: a["value"] - answers[-1]["value"] for u, a in answers.items() if u >= 0
            }
        print(
            f"round {number + 1} of {rounds}: "
            + ", ".join(f"{name} {taken[-1]:.1f} s" for name, taken in seconds.items()),
            file=sys.stderr,
            flush=True,
        )
    described = {name: side.ready for name, side in sides.items()}
    peaks = {name: side.ask("peak_bytes")["value"] for name, side in sides.items()}
    for side in sides.values():
        side.close()
    return {
        "sides": described,
        "timings": {name: forward.summary(taken) for name, taken in seconds.items()},
        "differences": differences(influences),
        "peak_bytes": peaks,
    }


def differences(influences: dict[str, dict[int, float]]) -> dict[str, float]:
    """Largest difference of an influence from PruneCore's; stops if it is not rounding."""
    found = {}
    for name, most in SAME_INFLUENCE.items():
        ours = influences[OURS]
        found[name] = max(abs(value - ours[u]) for u, value in influences[name].items())
        if not found[name] <= most:
            raise SystemExit(f"influences of {name} and PruneCore differ by {found[name]} nats")
    return found


def bars(timings: dict[str, Any]) -> list[dict[str, Any]]:
    """What was asked for, what was found, and whether it is enough; None where nothing is asked."""
    found = []
    for name, wanted in FASTER_THAN.items():
        paired, shortest = forward.ratios(timings, name, OURS)
        rows = ((f">= {wanted}x", paired, paired >= wanted), ("recorded", shortest, None))
        for how, (bar, ratio, met) in zip(("median of ratios", "shortest"), rows, strict=True):
            found.append(
                {
                    "name": f"leave-one-out over {SUBLAYERS} sublayers, against {name}: {how}",
                    "bar": bar,
                    "found": f"{ratio:.2f}x",
                    "met": met,
                }
            )
    return found


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    where, sides, timings = results["machine"], results["sides"], results["timings"]
    runtime, torch = sides[OURS]["runtime"], sides["torch fp32"]
    removed = results["removed_from_environment"]
    shape = worker.SHAPE
    ours = timings[OURS]["median"]
    rows = [
        [
            name,
            *(f"{taken[key]:.2f}" for key in ("median", "least", "most")),
            f"{taken['median'] / ours:.2f}",
            "" if name == OURS else f"{results['differences'][name]:.1e}",
            f"{results['peak_bytes'][name] / 1e6:.0f}",
        ]
        for name, taken in timings.items()
    ]
    passes = "all 33 passes" if results["all_passes"] else f"{len(passes_of(False))} of 33 passes"
    head = ["side", "median s", "least s", "most s", "times ours"]
    head += ["largest difference of an influence, nats", "peak memory, MB"]
    return "\n".join(
        [
            "# Leave-one-out",
            "",
            f"The influence on the loss of each of {SUBLAYERS} sublayers of a Llama of width "
            f"{shape['hidden_size']} with {shape['num_hidden_layers']} blocks, random weights in "
            "bf16;",
            f"one sequence of {worker.TOKENS} tokens; {results['threads']} threads for all sides; "
            f"median of {results['rounds']} rounds in turns.",
            f"PyTorch was timed on {passes} in each round"
            + ("." if results["all_passes"] else ", spread evenly, and scaled to 33."),
            "Made by `python benchmarks/leave_one_out.py`.",
            *report.busy(timings),
            "",
            *report.table(
                ["what", "bar", "found", "met"],
                [[b["name"], b["bar"], b["found"], report.MET[b["met"]]] for b in results["bars"]],
            ),
            *report.table(head, rows),
            f"- machine: {where['cpu']}, {where['cores']} cores, "
            f"{where['memory_bytes'] / 2**30:.0f} GiB, load {where['load_before']} before; "
            f"{where['system']}; {where['date']}",
            f"- prunecore {sides[OURS]['prunecore']}: {runtime['blas']}; kernels "
            f"{runtime['blas_kernels']}",
            f"- torch {torch['torch']}, transformers {torch['transformers']}, attention "
            f"{torch['attention']}; Python {where['python']}",
            "- removed from the environment: "
            + (", ".join(f"{name}={value}" for name, value in removed.items()) or "nothing"),
            "",
        ]
    )


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, at least 3")
    parser.add_argument("--threads", type=int, default=2, help="threads of all sides")
    parser.add_argument("--all-passes", action="store_true", help="PyTorch runs all 33 passes")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where results go")
    arguments = parser.parse_args()
    if arguments.rounds < 3:
        parser.error("--rounds must be at least 3")
    machine = report.machine()
    with tempfile.TemporaryDirectory() as directory:
        command = forward.worker_command("make", Path(directory), arguments.threads)
        subprocess.run(command, check=True, env=forward.environment())
        model = Path(directory) / STORAGE
        measured = measure(model, arguments.threads, arguments.rounds, arguments.all_passes)
    unset = {name: os.environ[name] for name in forward.UNSET if name in os.environ}
    results = {
        "machine": machine,
        "removed_from_environment": unset,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "all_passes": arguments.all_passes,
        **measured,
        "bars": bars(measured["timings"]),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = markdown(results)
    (arguments.out / "leave_one_out.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "leave_one_out.md").write_text(text)
    print(text)
    missed = [bar for bar in results["bars"] if bar["met"] is False]
    for bar in missed:
        print(f"missed: {bar['name']}: {bar['found']}, asked {bar['bar']}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        side, place, count = sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
        if side == OURS:
            worker.serve(*prunecore_side(place, count))
        else:
            worker.serve(*torch_side(place, count, side.removeprefix("torch-")))
    else:
        sys.exit(main())
