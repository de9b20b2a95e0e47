# SPDX-License-Identifier: Apache-2.0
"""Text in and text out of a GGUF file alone, which brings its tokenizer and its end tokens."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
from real_models import real_model

QUESTION = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


def test_an_export_writes_what_its_model_writes(tales: pc.Model, tmp_path: Path) -> None:
    tales.export(tmp_path / "m.gguf", format="gguf")
    wanted = tales.generate("Once upon a time", 12)
    with pc.open(tmp_path / "m.gguf") as model:
        made = model.generate("Once upon a time", 12)
        assert made.prompts[0].tolist() == wanted.prompts[0].tolist()
        assert made.texts == wanted.texts


def test_smollm2_answers_and_ends_its_turn() -> None:
    with pc.open(real_model("smollm2")) as model:
        made = model.generate(QUESTION, 20)
    assert made.texts is not None
    assert "Paris" in made.texts[0]
    assert made.reasons == ("stop",)
