# SPDX-License-Identifier: Apache-2.0
"""`Model.heal`: what it gives, what it leaves alone, what it refuses; a killed run goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest
from numpy_decoder import Decoder
from numpy_host import NumpyHost
from processes import HANG

BLOCKS = 12
MASK = pc.Mask.remove(["block.9", "ffn.3"], BLOCKS)
SMALL: dict[str, Any] = {
    "train": "final_norm,last:1",
    "steps": 6,
    "batch_sequences": 2,
    "learning_rate": 1e-3,
    "evaluate_every": 3,
}


@pytest.fixture(scope="module")
def text(tales_dir: Path) -> pc.Data:
    with pc.open(tales_dir) as model:
        return pc.Data.from_text(tales_dir / "stories.jsonl", model, 64, limit=16)


def weights(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(directory.glob("*.safetensors")))


def test_a_healed_model_is_a_model_of_its_own(
    tales: pc.Model, text: pc.Data, tmp_path: Path
) -> None:
    before = tales.evaluate(text, MASK).loss
    steps: list[int] = []
    healed = tales.heal(
        text, MASK, held_out=text, **SMALL, on_step=lambda told: steps.append(told.step)
    )
    assert steps == [1, 2, 3, 4, 5, 6]
    assert healed.loss_before == pytest.approx(before, abs=1e-5)
    assert healed.loss_after < healed.loss_before
    assert healed.model.evaluate(text).loss == pytest.approx(healed.loss_after, abs=1e-5)
    assert healed.model.mask.removed == MASK.removed == healed.mask.removed
    assert [record.step for record in healed.history] == [0, 3, 6]
    assert healed.history[0].loss is None and healed.history[0].learning_rate is None
    assert healed.provenance["train"] == ["final_norm", "last:1"]
    assert json.loads(json.dumps(healed.to_dict()))["best_step"] == healed.best_step
    assert tales.evaluate(text, MASK).loss == before
    assert healed.model.provenance["name"] == tales.provenance["name"]
    healed.model.export(tmp_path / "out", healed.mask)
    assert healed.model.verify_export(tmp_path / "out", healed.mask).same
    with pc.open(tmp_path / "out") as opened:
        assert opened.evaluate(text).loss == pytest.approx(healed.loss_after, abs=1e-5)


def test_only_what_was_trained_changes_in_what_is_exported(
    tales: pc.Model, text: pc.Data, tmp_path: Path
) -> None:
    healed = tales.heal(text, MASK, **{**SMALL, "train": "ffn.11", "steps": 2})
    healed.model.export(tmp_path / "after", pc.Mask.all(BLOCKS))
    tales.export(tmp_path / "before", pc.Mask.all(BLOCKS))
    found = [_bits(tmp_path / side) for side in ("before", "after")]
    changed = {name for name in found[0] if found[0][name] != found[1][name]}
    trained = {name for name in found[0] if ".layers.11.mlp." in name}
    assert changed and changed <= trained | {"model.layers.11.post_attention_layernorm.weight"}


def test_a_gguf_export_has_the_trained_weights(
    tales: pc.Model, text: pc.Data, tmp_path: Path
) -> None:
    pytest.importorskip("gguf")
    healed = tales.heal(text, steps=2, train=("last:1",), learning_rate=1e-3)
    healed.model.export(tmp_path / "healed.gguf", format="gguf")
    expected = healed.model.evaluate(text).loss
    assert abs(expected - tales.evaluate(text).loss) > 1e-3
    with pc.open(tmp_path / "healed.gguf", compute=tales.shape.compute) as again:
        assert again.evaluate(text).loss == pytest.approx(expected, rel=1e-5)


def _bits(directory: Path) -> dict[str, bytes]:
    """Tensors of the one file of a directory as bytes: NumPy has no bf16."""
    content = (directory / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    body = content[8 + length :]
    return {name: body[slice(*entry["data_offsets"])] for name, entry in header.items()}


def test_a_mask_that_removes_nothing_is_plain_training(tales: pc.Model, text: pc.Data) -> None:
    healed = tales.heal(text, held_out=text, **SMALL)
    assert healed.mask.removed == [] and healed.loss_after < healed.loss_before


def test_a_teacher_with_its_own_mask_teaches(tales: pc.Model, text: pc.Data) -> None:
    kept = pc.Mask.remove("block.9", BLOCKS)
    with tales.masked(kept):
        healed = tales.heal(text, kept, objective="kl", teacher=tales, held_out=text, **SMALL)
    assert healed.loss_before == 0  # it is the teacher
    with pytest.raises(pc.ArgumentError, match="no teacher"):
        tales.heal(text, MASK, teacher=tales, **SMALL)


def test_a_tied_head_is_untied_on_request_or_refused(
    tales: pc.Model, text: pc.Data, tmp_path: Path
) -> None:
    with pytest.raises(pc.ArgumentError, match="untie_head"):
        tales.heal(text, MASK, **{**SMALL, "train": "head"})
    healed = tales.heal(text, MASK, held_out=text, **{**SMALL, "train": "head"}, untie_head=True)
    assert not healed.model.shape.tied_embeddings and healed.loss_after < healed.loss_before
    healed.model.export(tmp_path / "out", healed.mask)
    assert (
        json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] is False
    )
    assert healed.model.verify_export(tmp_path / "out", healed.mask).same


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": "ffn.3"}, "ffn.3, which the mask removes"),
        ({"train": "last:12"}, "keeps 11 blocks"),
        ({"train": ["norm"]}, "'norm'"),
        ({"steps": 0}, "steps"),
        ({"objective": "mse"}, "mse"),
        ({"schedule": "step"}, "step"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"learning_rate": float("nan")}, "learning_rate"),
    ],
)
def test_wrong_options_are_named(
    tales: pc.Model, text: pc.Data, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(pc.ArgumentError, match=words):
        tales.heal(text, MASK, **{**SMALL, **options})


def test_progress_stops_a_healing(tales: pc.Model, text: pc.Data) -> None:
    with pytest.raises(pc.Cancelled):
        tales.heal(text, MASK, **SMALL, progress=lambda stage, *_: "step 2" in stage)


def test_a_model_of_a_host_is_refused() -> None:
    with (
        pc.from_host(NumpyHost(Decoder())) as hosted,
        pytest.raises(pc.UnsupportedError, match="host"),
    ):
        hosted.heal(pc.Data([[1, 2, 3], [4, 5, 6]]), train="all")


RUN = """
import sys
import prunecore as pc
directory, text, checkpoint, out = sys.argv[1:]
with pc.open(directory) as model:
    data = pc.Data.from_text(text, model, 64, limit=16)
    mask = pc.Mask.remove(["block.9", "ffn.3"], 12)
    def told(progress):
        print(progress.step, flush=True)
    healed = model.heal(
        data, mask, train="final_norm,last:2", objective="kl", steps=8, batch_sequences=2,
        learning_rate=1e-3, evaluate_every=3, seed=5, checkpoint=checkpoint or None, on_step=told,
    )
    healed.model.export(out, healed.mask)
"""


def test_a_killed_healing_goes_on_and_ends_with_the_same_bits(
    tales_dir: Path, tmp_path: Path
) -> None:
    def command(checkpoint: str, out: str) -> list[str]:
        text = str(tales_dir / "stories.jsonl")
        place = str(tmp_path / checkpoint) if checkpoint else ""
        return [sys.executable, "-c", RUN, str(tales_dir), text, place, str(tmp_path / out)]

    whole = subprocess.run(command("", "whole"), capture_output=True, timeout=HANG, check=True)
    assert whole.stdout.split()[-1] == b"8"
    with subprocess.Popen(command("state", "killed"), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        while running.stdout.readline().strip() != "5":
            assert running.poll() is None
        running.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed").exists() and (tmp_path / "state").is_file()
    again = subprocess.run(
        command("state", "resumed"), capture_output=True, timeout=HANG, check=True
    )
    # The checkpoint is that of the look after step 3.
    assert again.stdout.split()[0] == b"4"
    assert weights(tmp_path / "resumed") == weights(tmp_path / "whole") != b""
