# SPDX-License-Identifier: Apache-2.0
"""Runs exported GGUF files inside llama.cpp and compares the logits with our own.

    python Tests/LlamaCpp/verify.py [--models DIRECTORY] [--families DIRECTORY]
        [--table FILE.md] [--json FILE]

The embedded model is exported in every way of gguf_cases.py; --models names checkpoints like Llama
that write_models.py made, and --families those of all families. --table puts the results between
the marks of a Markdown file. Exit code 1 if one differs, or a refusal is not the one that is
expected.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
from prunecore.export.gguf import export_gguf, read_gguf
from prunecore.export.gguf.llama_cpp_runtime import LlamaCpp, load_llama_cpp

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Python" / "support"))

from families import families_table, run_families  # noqa: E402
from gguf_cases import CASES, Case  # noqa: E402

TALES = ROOT / "examples" / "models" / "tales-12l"
TOKENS = 200
CACHE_TOKENS = 4096  # so many that what llama.cpp rounds to 0.01 MiB says bytes per token
TOLERANCES = {"F32": 2e-5, "F16": 2e-3, "BF16": 1e-2, "Q8_0": 6e-2}
MARKS = ("<!-- verify-llama-cpp begins -->", "<!-- verify-llama-cpp ends -->")
TEXTS = (
    "Once upon a time, there was a fox. It's 12 o'clock!\n\n  Yes",
    "naïve café — “quotes”, 3.14159, x_1 = y**2;\tend",
)


class Refused(Exception):
    """The export said that it cannot be done."""


def adapters_of(model: pc.Model, mask: pc.Mask, kind: str, data: pc.Data) -> pc.Adapters | None:
    """Closed-form adapters; None for none."""
    if not kind:
        return None
    rank = {"rank": 4} if kind == "low_rank" else {}
    return model.recover(mask, data, kind, ridge=1e-3, **rank)


def measure(
    model: pc.Model, case: Case, data: pc.Data, calibration: pc.Data, dtype: str = "F32"
) -> dict[str, Any]:
    """Exports, runs, compares."""
    mask = pc.Mask.remove(case.names(model.shape.n_blocks), model.shape.n_blocks)
    adapters = adapters_of(model, mask, case.adapters, calibration)
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = export_gguf(model, Path(folder) / "m.gguf", mask, adapters, dtype)
        except pc.UnsupportedError as error:
            raise Refused(str(error)) from error
        read_gguf(made.path).check()
        ours = model if adapters is None else adapters.attach(model)
        want = ours.logits(data, None if adapters else mask)
        with LlamaCpp(made.path, 256, threads=2) as runtime:
            got = np.concatenate([runtime.logits(row) for row in data.sequences])
            same_text = made.has_tokenizer and all(
                runtime.tokenize(text) == encoded(model, text) for text in TEXTS
            )
        with LlamaCpp(made.path, CACHE_TOKENS, flash_attention=True, threads=2) as runtime:
            cache = runtime.cache_bytes
    floats = 4 * model.shape.n_kv_heads * model.shape.head_size * 2
    kept = int(mask.keep[0::2].sum())
    return {
        "case": case.name,
        "dtype": dtype,
        "architecture": made.architecture,
        "layers": len(made.layers),
        "difference": float(np.linalg.norm(got - want) / np.linalg.norm(want)),
        "largest": float(np.abs(got - want).max()),
        "kv_bytes": None if cache is None else cache / CACHE_TOKENS,
        "kv_bytes_expected": kept * floats,
        "file_bytes": made.bytes,
        "same_tokens": same_text if made.has_tokenizer else None,
    }


def encoded(model: pc.Model, text: str) -> list[int]:
    """Token ids as tokenizer.json gives them."""
    from prunecore.data.text import load_tokenizer, tokenize

    return tokenize(load_tokenizer(model), text).tolist()


def faults(row: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a result, in sentences."""
    if not row["difference"] <= TOLERANCES[row["dtype"]]:
        yield f"the logits differ by {row['difference']:.2g}"
    cache = row["kv_bytes"]
    # Half of 0.01 MiB, of keys and of values.
    if cache is None or abs(cache - row["kv_bytes_expected"]) > 0.0101 * 2**20 / CACHE_TOKENS:
        yield f"the cache takes {cache} bytes a token, not {row['kv_bytes_expected']}"
    if row["same_tokens"] is False:
        yield "text becomes other tokens"


def subjects(models: Path | None) -> Iterator[tuple[str, Path]]:
    """Names and directories of the models."""
    yield "tales-12l", TALES
    if models is not None:
        for directory in sorted(models.iterdir()):
            yield directory.name, directory


def data_of(model: pc.Model) -> tuple[pc.Data, pc.Data]:
    """Random token ids: to compare on, and for adapters."""
    random = np.random.default_rng(0)
    size, windows = model.shape.vocabulary_size, [s.window for s in model.sublayers if s.window]
    length = min([TOKENS, *windows])
    rows = [random.integers(0, size, length) for _ in range(2)]
    return pc.Data(rows), pc.Data([random.integers(0, size, 128) for _ in range(8)])


def run(models: Path | None) -> tuple[list[dict[str, Any]], list[str]]:
    """All results, and what is wrong with them."""
    rows, wrong = [], []
    for name, directory in subjects(models):
        with pc.open(directory, "float32") as model:
            data, calibration = data_of(model)
            cases = [(case, "F32") for case in CASES]
            if directory == TALES:
                cases += [(CASES[7], dtype) for dtype in ("F16", "BF16", "Q8_0")]
            for case, dtype in cases:
                try:
                    row = measure(model, case, data, calibration, dtype)
                    found = list(faults(row))
                    if directory == TALES and row["architecture"] != case.architecture:
                        found.append(f"it is a {row['architecture']}")
                except Refused as refusal:
                    row = {"case": case.name, "dtype": dtype, "refused": str(refusal)}
                    found = [] if name.startswith("qwen3") else [f"it was refused: {refusal}"]
                except pc.Error as error:
                    row, found = {"case": case.name, "dtype": dtype}, [f"it failed: {error}"]
                rows.append({"model": name, **row})
                wrong += [f"{name}, {case.name}, {dtype}: {sentence}" for sentence in found]
                shown = row.get("difference")
                print(f"{name:32} {case.name:40} {dtype:5}", end=" ")
                print("refused" if shown is None else f"{row['architecture']:6} {shown:.1e}")
    return rows, wrong


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: the embedded model in full, of the others the largest difference."""
    lines = [
        "| removed from tales-12l | numbers | architecture, layers | difference of logits | cache, "
        "bytes a token |",
        "|---|---|---|---|---|",
    ]
    own = [row for row in rows if row["model"] == "tales-12l" and "difference" in row]
    lines += [
        f"| {row['case']} | {row['dtype']} | {row['architecture']}, {row['layers']} "
        f"| {row['difference']:.1e} | {row['kv_bytes']:.0f} |"
        for row in own
    ]
    others = sorted({row["model"] for row in rows} - {"tales-12l"})
    if others:
        lines += ["", "| other checkpoint | exports | refused | largest difference |"]
        lines += ["|---|---|---|---|"]
    for name in others:
        mine = [row for row in rows if row["model"] == name]
        done = [row["difference"] for row in mine if "difference" in row]
        lines.append(
            f"| {name.removesuffix('-float32')} | {len(done)} | {len(mine) - len(done)} "
            f"| {f'{max(done):.1e}' if done else '-'} |"
        )
    return "\n".join(lines)


def insert(file: Path, text: str) -> None:
    """Puts a table between the marks of a file."""
    before, _, rest = file.read_text(encoding="utf-8").partition(MARKS[0])
    _, found, after = rest.partition(MARKS[1])
    if not found:
        raise SystemExit(f"{file} has no marks for the table: {' .. '.join(MARKS)}")
    file.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=Path)
    parser.add_argument("--families", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows, wrong = run(given.models)
    text = table(rows)
    record = {"llama_cpp_python": load_llama_cpp().__version__, "results": rows}
    if given.families is not None:
        record["families"], found = run_families(given.families)
        wrong += found
        text += f"\n\n{families_table(record['families'])}"
    if given.json is not None:
        given.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if given.table is not None and not wrong:
        insert(given.table, text)
    for sentence in wrong:
        print(f"WRONG: {sentence}", file=sys.stderr)
    print(f"{len(rows) + len(record.get('families', ()))} exports, {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
