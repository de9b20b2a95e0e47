# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of all families inside llama.cpp, for verify.py: whole, less a block, narrower."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
from gguf_expected import Refusal, expected
from prunecore.export.gguf import export_gguf, read_gguf
from prunecore.export.gguf.llama_cpp_runtime import LlamaCpp
from prunecore.export.verify import GELU_TOLERANCE

TOKENS = 31
TOLERANCE = 2e-5
DEEP = 40  # random layers, of which each makes more of what gelu rounds
DEEP_TOLERANCE = 0.1
REMOVED = {"whole": (), "without block 1": ("block.1",), "narrower": ()}


def run_families(directory: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """All results, and what is wrong with them."""
    rows, wrong = [], []
    for path in sorted(directory.iterdir()):
        try:
            model = pc.open(path, "float32")
        except pc.UnsupportedError as error:
            print(f"{path.name:32} {str(error).split(': ')[-1]}")
            continue
        for case, removed in REMOVED.items():
            try:
                measured = model.edited(_narrowing(model)) if case == "narrower" else model
            except pc.UnsupportedError as error:  # a mixture
                print(f"{path.name:32} {case:16} {str(error).split(', ')[0]}")
                continue
            row = {"model": path.name, "case": case, **_measured(measured, removed)}
            rows.append(row)
            wrong += [f"{path.name}, {case}: {sentence}" for sentence in _faults(row)]
            shown = row.get("difference")
            print(f"{path.name:32} {case:16}", end=" ")
            print("refused" if shown is None else f"{row['architecture']:12} {shown:.1e}")
    return rows, wrong


def _narrowing(model: pc.Model) -> list[dict[str, Any]]:
    """All feed-forwards without their first 5 neurons and every fourth."""
    shape = model.shape
    kept = [neuron for neuron in range(5, shape.feed_forward_size) if neuron % 4]
    blocks = {str(block): kept for block in range(shape.n_blocks)}
    return [{"kind": "narrow", "feed_forward": blocks}]


def _measured(model: pc.Model, removed: tuple[str, ...]) -> dict[str, Any]:
    mask = pc.Mask.remove(removed, model.shape.n_blocks)
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = export_gguf(model, Path(folder) / "m.gguf", mask, dtype="F32")
        except pc.UnsupportedError as error:
            return {"refused": str(error)}
        tokens = np.random.default_rng(5).integers(
            0, model.shape.vocabulary_size, min(TOKENS, made.context_length)
        )
        wanted = model.logits(pc.Data([tokens]), mask)
        with LlamaCpp(made.path, 64, threads=1) as runtime:
            found = runtime.logits(tokens)
        rounds = read_gguf(made.path).rounds_gelu
    limit = DEEP_TOLERANCE if len(made.layers) > DEEP else GELU_TOLERANCE if rounds else TOLERANCE
    return {
        "architecture": made.architecture,
        "difference": float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)),
        "tolerance": limit,
    }


def _faults(row: dict[str, Any]) -> Iterator[str]:
    if "difference" in row and not row["difference"] <= row["tolerance"]:
        yield f"the logits differ by {row['difference']:.2g}"
    if row["case"] != "without block 1":
        return  # what stands at the right places then need not when a block is gone
    wanted = expected(row["model"])
    if isinstance(wanted, Refusal):
        if not re.search(wanted.words, row.get("refused", "")):
            yield f"it is not refused because it {wanted.words}"
    elif row.get("architecture") != wanted:
        yield f"it is not a {wanted}: {row.get('refused', row.get('architecture'))}"


def families_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line for each checkpoint."""
    lines = [
        f"| family checkpoint | architecture | {' | '.join(REMOVED)} |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["model"] for row in rows):
        mine = {row["case"]: row for row in rows if row["model"] == name}
        kinds = {row["architecture"] for row in mine.values() if "architecture" in row}
        shown = (
            f"{mine[case]['difference']:.1e}" if "difference" in mine.get(case, {}) else "refused"
            for case in REMOVED
        )
        lines.append(f"| {name} | {', '.join(sorted(kinds)) or '-'} | {' | '.join(shown)} |")
    return "\n".join(lines)
