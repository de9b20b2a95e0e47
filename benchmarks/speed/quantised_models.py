# SPDX-License-Identifier: Apache-2.0
"""Whole models in the blocks of GGUF files, against the same models stored in bf16.

    python -m benchmarks.speed.quantised_models [--rounds N] [--blocks N] [--out DIRECTORY]

Random Llamas of width 2048, and SmolLM2 135M where `make models` has fetched it. Each is written as
a checkpoint in bf16 by the export of the file. Forward: the mean loss of 4 sequences of 256 tokens,
in the same compute type. Decoding: 24 tokens after a prompt of 4, one sequence, in fp32. The two
take turns, and each round gives a ratio. The bars: forward at 0.9 of the speed of bf16, decoding
faster by three quarters of the bytes that a token reads. The exit status is 1 if a bar is missed.
Writes quantised_models.json and quantised_models.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import prunecore as pc

from benchmarks.harness import gguf_models, report
from benchmarks.harness.models import SHAPES
from benchmarks.harness.places import REPOSITORY, RESULTS
from benchmarks.harness.record import Record, environment_notes

TYPES = ("Q8_0", "Q4_1", "Q4_K")
REAL = REPOSITORY / "build" / "models" / "smollm2.gguf"
PROMPT, NEW = 4, 24
SHARE, FORWARD = 0.75, 0.9


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(title: str, path: Path, rounds: int, record: Record) -> None:
    """Times one model in both forms, and adds its rows."""
    with tempfile.TemporaryDirectory() as folder:
        with pc.open(path) as model:
            model.export(Path(folder) / "bf16")
        for compute in ("float32", "bfloat16"):
            if compute == "bfloat16" and not pc.runtime_info().bf16_kernels:
                continue
            with (
                pc.open(path, compute) as blocks,  # type: ignore[arg-type]
                pc.open(Path(folder) / "bf16", compute) as plain,  # type: ignore[arg-type]
            ):
                forward(f"{title}: forward in {compute}", blocks, plain, rounds, record)
                if compute == "float32":
                    decode(f"{title}: decoding", blocks, plain, rounds, record)


def forward(title: str, blocks: pc.Model, plain: pc.Model, rounds: int, record: Record) -> None:
    """The mean loss of four sequences."""
    rng = np.random.default_rng(0)
    data = pc.Data(list(rng.integers(1, blocks.shape.vocabulary_size, (4, 256)).astype(np.int32)))
    for model in (blocks, plain):
        model.evaluate(data)
    ratios = []
    for _ in range(rounds):
        theirs = seconds(lambda: plain.evaluate(data))
        ratios.append(theirs / seconds(lambda: blocks.evaluate(data)))
    record.judge(f"{title}, speed against bf16", ratios, "{:.2f}", least=FORWARD)


def decode(title: str, blocks: pc.Model, plain: pc.Model, rounds: int, record: Record) -> None:
    """Tokens one after the other: a matrix is read for one row."""
    prompt = [list(range(5, 5 + PROMPT))]

    def run(model: pc.Model) -> object:
        return model.generate(prompt, max_new_tokens=NEW, temperature=0, stop=[])

    for model in (blocks, plain):
        run(model)
    ratios = []
    for _ in range(3 * rounds):
        theirs = seconds(lambda: run(plain))
        ratios.append(theirs / seconds(lambda: run(blocks)))
    saved = read_bytes(plain) / read_bytes(blocks)
    record.judge(f"{title}: bytes of a token, bf16 / blocks", [saved], "{:.2f}")
    record.judge(f"{title}, speed against bf16", ratios, "{:.2f}", least=SHARE * saved)


def read_bytes(model: pc.Model) -> int:
    """Bytes of the weights that a token reads: all but an embedding that is no head."""
    shape = model.shape
    if shape.tied_embeddings:
        return shape.parameter_bytes
    fixed = shape.parameter_bytes - sum(part.parameter_bytes for part in model.sublayers)
    return shape.parameter_bytes - fixed // 2


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    shape = replace(SHAPES["1.1B"], blocks=arguments.blocks)
    record = Record()
    for name in TYPES:
        with tempfile.TemporaryDirectory() as folder:
            path = gguf_models.write(Path(folder) / "m.gguf", name, shape)
            measure(f"width 2048, {name}", path, arguments.rounds, record)
    if REAL.is_file():
        measure("SmolLM2 135M, Q4_1", REAL, arguments.rounds, record)
    results = record.results(
        **environment_notes(), rounds=arguments.rounds, library=f"prunecore {pc.__version__}"
    )
    lines = [
        "# Quantised models",
        "",
        f"Random Llamas of {arguments.blocks} blocks and width 2048, and SmolLM2 135M, in the "
        "blocks of GGUF files, against the same models in bf16: 2.00 is twice as fast.",
        f"Medians of {arguments.rounds} rounds in turns, of decoding {3 * arguments.rounds}.",
        "The bar of decoding is three quarters of the bytes saved.",
        "Made by `python -m benchmarks.speed.quantised_models`.",
        "",
        *report.bar_table(record.rows),
        *report.footer(results),
    ]
    return report.publish("quantised_models", results, "\n".join(lines), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
