# SPDX-License-Identifier: Apache-2.0
"""Writes the token ids of a text file, for programs without a tokenizer.

    python examples/python/write_tokens.py

makes examples/data/tales_tokens.txt, which the C and C++ examples read: one sequence per line, ids
separated by spaces. Documents are joined and cut into sequences of equal length, as
`prunecore.Data.from_text` does. Needs the package `tokenizers`.
"""

import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer

EXAMPLES = Path(__file__).resolve().parent.parent
MODEL = EXAMPLES / "models" / "tales-12l"
TEXT = MODEL / "stories.jsonl"
OUT = EXAMPLES / "data" / "tales_tokens.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=MODEL, help="directory with tokenizer.json")
    parser.add_argument("--text", type=Path, default=TEXT, help='lines of {"text": "..."}')
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--limit", type=int, default=8, help="sequences to write")
    parser.add_argument("--sequence-length", type=int, default=256, help="tokens of each")
    arguments = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    length = arguments.sequence_length
    wanted = length * arguments.limit
    ids: list[int] = []
    with arguments.text.open(encoding="utf-8") as lines:
        for line in lines:
            ids += tokenizer.encode(json.loads(line)["text"]).ids
            if len(ids) >= wanted:
                break
    sequences = [ids[at : at + length] for at in range(0, min(len(ids), wanted), length)]
    sequences = [ids for ids in sequences if len(ids) == length]  # the remainder is dropped

    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", encoding="ascii") as out:
        for ids in sequences:
            out.write(" ".join(map(str, ids)) + "\n")
    print(f"wrote {len(sequences)} sequences to {arguments.out}")


if __name__ == "__main__":
    main()
