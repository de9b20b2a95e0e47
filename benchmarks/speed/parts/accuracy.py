# SPDX-License-Identifier: Apache-2.0
"""What computing in bf16 changes, against fp32: the order of influences, and the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.harness.places import TALES, TALES_TOKENS
from benchmarks.harness.record import Bench
from benchmarks.speed.parts.forward import OURS, OURS_FP32


def accuracy(bench: Bench) -> None:
    """The embedded model on its own text, and the 246M model on random tokens."""
    ids = [int(word) for word in TALES_TOKENS.read_text(encoding="ascii").split()[:1024]]
    tales = {"side": "prunecore", "model": TALES, "threads": bench.threads, "ids": ids}
    both: dict[str, Any] = {
        "tales-12l": lambda compute: {**tales, "compute": compute},
        "246M": lambda compute: bench.ours("246M", 1024, compute),
    }
    for name, wanted in both.items():
        with bench.running({OURS: wanted("bfloat16"), OURS_FP32: wanted("float32")}) as sides:
            scores = {side: w.ask("influences")["value"] for side, w in sides.items()}
            losses = {side: w.ask("evaluate")["value"] for side, w in sides.items()}
        bf16, fp32 = scores[OURS], scores[OURS_FP32]
        record, what = bench.record, f"{name}, bf16 against fp32"
        order = float(spearmanr(bf16["cosine"], fp32["cosine"]).statistic)
        row = f"{what}: Spearman correlation of cosine influences, sublayers"
        record.judge(row, [order], "{:.4f}", least=0.999)
        apart = abs(losses[OURS] - losses[OURS_FP32]) / losses[OURS_FP32]
        record.judge(f"{what}: loss, relative error", [apart], "{:.1e}", most=1e-3)
        errors = {
            metric: float(np.max(np.abs(np.subtract(bf16[metric], fp32[metric])) / fp32[metric]))
            for metric in fp32
        }
        worst = max(errors, key=lambda metric: errors[metric])
        row = f"{what}: largest relative error of an influence ({worst})"
        record.judge(row, [errors[worst]], "{:.1e}")
