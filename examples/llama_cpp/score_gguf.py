# SPDX-License-Identifier: Apache-2.0
"""Scores the layers of a GGUF model while llama.cpp runs it.

    python examples/llama_cpp/score_gguf.py MODEL.gguf --tokens FILE [--limit N] [--remove N]
        [--compare MODEL_DIRECTORY]

FILE has token ids, a sequence per line. The table has the mean over all of their tokens. With
--compare, PruneCore computes the same from the checkpoint that the GGUF file was made of, and the
exit status is 1 if the two differ by more than --tolerance of a score.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import llama_cpp
import numpy as np
import prunecore as pc
from residual_stream import Scored

METRICS = ("cosine", "relative_l2")


@llama_cpp.llama_log_callback
def silent(level: int, text: bytes, _: object) -> None:
    """Drops what llama.cpp prints while it loads, except errors."""
    if level == 4:
        sys.stderr.write(text.decode(errors="replace"))


def read_sequences(file: Path, limit: int) -> list[list[int]]:
    """Token ids, a sequence per line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    sequences = [[int(token) for token in line.split()] for line in lines if line.strip()]
    return sequences[:limit]


def table(scores: pc.Scores, blocks: pc.Scores) -> str:
    """One line per block: its attention, its feed-forward, and the block."""
    lines = ["block   cosine: attn     ffn   block   relative_l2: attn     ffn   block"]
    for block in range(scores.n_blocks):
        cells = [
            (scores[metric][2 * block], scores[metric][2 * block + 1], blocks[metric][block])
            for metric in METRICS
        ]
        (a, f, b), (c, g, d) = cells
        lines.append(f"{block:5}   {a:12.4f} {f:7.4f} {b:7.4f}   {c:17.4f} {g:7.4f} {d:7.4f}")
    return "\n".join(lines)


def largest_difference(scores: pc.Scores, directory: Path, data: pc.Data) -> float:
    """The largest relative difference between these scores and PruneCore's own in fp32."""
    with pc.open(directory, compute="float32") as model:
        own = model.score(data, scores.metrics, granularity=scores.granularity)
    return max(float(np.max(np.abs(scores[m] / own[m] - 1))) for m in scores.metrics)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=1000, help="sequences at most")
    parser.add_argument(
        "--remove", type=int, default=4, help="attention layers of the mask printed"
    )
    parser.add_argument("--compare", type=Path, metavar="MODEL_DIRECTORY")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    given = parser.parse_args()

    llama_cpp.llama_log_set(silent, None)
    sequences = read_sequences(given.tokens, given.limit)
    scored = Scored(given.model, max(map(len, sequences)))
    begin = time.perf_counter()
    for sequence in sequences:
        scored.run(sequence)
    seconds = time.perf_counter() - begin
    scored.close()

    scores, blocks = scored.statistics.scores(), scored.statistics.scores(granularity="block")
    print(table(scores, blocks))
    mask = scored.statistics.scores("cosine", "attention").prune(given.remove)
    print(f"{scored.tokens} tokens in {seconds:.2f} s; to remove first: {' '.join(mask.removed)}")
    if given.compare is None:
        return 0
    data = pc.Data(sequences)
    difference = max(largest_difference(found, given.compare, data) for found in (scores, blocks))
    print(f"largest difference to PruneCore's own scores: {difference:.1e} of a score")
    if difference <= given.tolerance:
        return 0
    print(f"that is more than {given.tolerance:g}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
