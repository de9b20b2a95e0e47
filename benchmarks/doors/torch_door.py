# SPDX-License-Identifier: Apache-2.0
"""Leave-one-out of a PyTorch model: `prunecore.torch.wrap` against the plain loop over the module.

    python -m benchmarks.doors.torch_door [--tokens N] [--rounds N] [--threads N]
                                          [--models DIRECTORY] [--out DIRECTORY]

A random Llama of 246 million parameters in bf16 on the CPU, all 32 sublayers. Both sides run the
same module in this process, in turns: the loop once as it is, and once without each sublayer. Calls
of its attention and MLP modules are counted by hooks, a call for several hidden states that many
times. The exit status is 1 if a bar is missed. Writes torch_door.json and torch_door.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import torch
import transformers
from prunecore.torch import WrappedModel, wrap

from benchmarks.harness import environment, models, report
from benchmarks.harness.places import RESULTS
from benchmarks.harness.record import Record, environment_notes
from benchmarks.harness.torch_side import masked
from benchmarks.harness.turns import Answer, MeasurementError, in_turns, ratios
from benchmarks.harness.worker_protocol import token_ids
from benchmarks.speed.parts.coalitions import same, without

MODEL = "246M"
SEQUENCE = 128
OURS, LOOP = "wrapped", "plain loop"


class Counter:
    """Counts hidden states that pass through the attention and MLP modules of a Llama."""

    def __init__(self, module: Any, sequences: int) -> None:
        self.calls = 0.0
        self._sequences = sequences
        self._hooks = [
            part.register_forward_hook(self._count, with_kwargs=True)
            for layer in module.model.layers
            for part in (layer.self_attn, layer.mlp)
        ]

    def _count(self, _module: Any, _inputs: Any, _named: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        self.calls += hidden.shape[0] / self._sequences

    def taken(self) -> float:
        """States counted, and the hooks taken away."""
        for hook in self._hooks:
            hook.remove()
        return self.calls


def plain_loop(module: Any, ids: torch.Tensor, keeps: list[list[int]]) -> list[float]:
    """The loss under each mask, one after the other; removed sublayers are not run."""
    losses = []
    for keep in keeps:
        with torch.inference_mode(), masked(module, keep):
            losses.append(module(ids, labels=ids, use_cache=False).loss.item())
    return [loss - losses[0] for loss in losses[1:]]


def influences(model: WrappedModel, data: pc.Data) -> list[float]:
    """The same by the library."""
    found = model.score(data, "leave_one_out_loss")["leave_one_out_loss"]
    return [float(value) for value in found]


def measure(record: Record, module: Any, ids: torch.Tensor, rounds: int) -> None:
    """Calls and seconds of both sides."""
    sublayers = 2 * len(module.model.layers)
    keeps = [[1] * sublayers, *(without(sublayers, u) for u in range(sublayers))]
    data = pc.Data(list(ids.numpy()))
    what = f"leave-one-out, {sublayers} sublayers, {MODEL}, {ids.numel()} tokens"
    with wrap(module) as model:
        sides: dict[str, Callable[[], list[float]]] = {
            OURS: lambda: influences(model, data),
            LOOP: lambda: plain_loop(module, ids, keeps),
        }
        calls, values = {}, {}
        for name, side in sides.items():  # warms up, too
            counter = Counter(module, len(ids))
            values[name] = side()
            calls[name] = counter.taken()
        same(values[OURS], values[LOOP], float(np.log(module.config.vocab_size)))
        share = calls[OURS] / calls[LOOP]
        record.judge(f"{what}: sublayer calls of those of the loop", [share], "{:.1%}", most=0.53)
        record.notes["sublayer calls"] = ", ".join(f"{n} {c:.0f}" for n, c in calls.items())

        def timed(side: Callable[[], list[float]]) -> Callable[[], Answer]:
            def run() -> Answer:
                start = time.perf_counter()
                value = side()
                return {"seconds": time.perf_counter() - start, "value": value}

            return run

        answers = in_turns({name: timed(side) for name, side in sides.items()}, rounds, 0)
    taken = {name: record.time(f"{what}: {name}", found) for name, found in answers.items()}
    record.judge(
        f"{what}: wrapped against the plain loop", ratios(taken[LOOP], taken[OURS]), "{:.2f}x",
        least=1.5,
    )  # fmt: skip


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# The PyTorch door",
        "",
        f"A random Llama of {MODEL} parameters in bf16 on the CPU, {results['threads']} threads of "
        "PyTorch on both sides, "
        f"which run the same module. Ratios are within rounds; {results['rounds']} rounds. "
        "Made by `python -m benchmarks.doors.torch_door`.",
        "",
        *report.busy(results["timings"]),
        *report.bar_table(results["rows"]),
        *report.timing_table(results["timings"]),
        *report.footer(results),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=environment.processors())
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.disable_progress_bar()
    notes = environment_notes()
    record = Record()
    with tempfile.TemporaryDirectory() as temporary:
        directory = models.made(MODEL, (arguments.models or Path(temporary)) / MODEL)
        module = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16)
        module.eval()
        drawn = torch.from_numpy(token_ids(arguments.tokens, module.config.vocab_size))
        try:
            measure(record, module, drawn.view(-1, SEQUENCE), arguments.rounds)
        except MeasurementError as error:
            record.fail("leave-one-out", str(error))
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    attention = module.config._attn_implementation
    results = {
        **notes,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "sides": {"torch": {**versions, "attention": attention}},
        "rows": record.rows,
        "timings": record.timings,
        "notes": record.notes,
    }
    return report.publish("torch_door", results, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
