# SPDX-License-Identifier: Apache-2.0
"""A first program: open a model, score its attention layers, remove four, and see the cost.

    python examples/python/first_light.py [MODEL_DIRECTORY [TEXT_FILE]]

Without arguments it uses the model that comes with the project and texts that this model wrote.
"""

import sys
from pathlib import Path

import prunecore as pc

MODEL = Path(__file__).resolve().parent.parent / "models" / "tales-12l"


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else MODEL
    text = Path(sys.argv[2]) if len(sys.argv) > 2 else directory / "stories.jsonl"

    model = pc.open(directory)
    # Eight sequences of at most 256 tokens: enough to rank layers, and quick.
    data = pc.Data.from_text(text, model, sequence_length=256, limit=8)
    before = model.evaluate(data)

    # 1 - cos(hidden state before the layer, hidden state after it): the less a layer turns the
    # hidden state, the lower its influence, and the earlier it is removed.
    scores = model.score(data, metrics=["cosine"], granularity="attention")
    mask = scores.prune(4)

    with model.masked(mask):
        after = model.evaluate(data)

    print("removed:", " ".join(mask.removed))
    print(f"loss before: {before.loss:.4f} nats per token, perplexity {before.perplexity:.2f}")
    print(f"loss after:  {after.loss:.4f} nats per token, perplexity {after.perplexity:.2f}")


if __name__ == "__main__":
    main()
