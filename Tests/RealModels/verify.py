# SPDX-License-Identifier: Apache-2.0
"""Compares the real GGUF models in build/models with transformers: losses, and every logit.

    python Tests/RealModels/verify.py [--text FILE] [--sequences 8] [--length 512] [FILE.gguf ...]

Ends with 1 if a loss differs by more than 1e-5 of it, or a logit by more than 2e-4 of the largest.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import prunecore as pc
from against_transformers import compare
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[2]
LOSS, LOGIT = 1e-5, 2e-4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument(
        "--text", type=Path, help="what is compared on; the pages of docs/ otherwise"
    )
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    pages = [arguments.text] if arguments.text else sorted((ROOT / "docs").rglob("*.md"))
    text = "\n".join(page.read_text() for page in pages)
    files = arguments.files or sorted((ROOT / "build" / "models").glob("*.gguf"))
    bad = 0
    for path in files:
        data = pc.Data.from_texts([text], path, arguments.length)
        rows = [row for row in data.sequences if len(row) == arguments.length]
        found = compare(path, rows[: arguments.sequences])
        fine = found.of_loss <= LOSS and found.of_largest <= LOGIT
        bad += not fine
        print(
            f"{path.name}: {min(len(rows), arguments.sequences)} x {arguments.length} tokens: "
            f"loss {found.ours:.7f}, in transformers {found.theirs:.7f} "
            f"({found.of_loss:.1e} apart); logits {found.largest:.1e} apart, "
            f"{found.of_largest:.1e} of the largest: "
            f"{'as it should be' if fine else 'TOO FAR'}"
        )
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
