# SPDX-License-Identifier: Apache-2.0
"""`prunecore diagnose`, run as a process."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from commands import SMALL, only_json, run
from figures import check_picture

PARTS = ("variance", "angular", "gradients", "removals")


def test_diagnose_writes_what_the_call_returns_and_four_pictures(
    folder: Path, tales: pc.Model
) -> None:
    record = only_json(run(folder, f"diagnose model {SMALL} --loss-below 0.3 --out d --json"))
    data = pc.Data.from_text(folder / "text.jsonl", tales, 24, limit=2)
    found = tales.diagnose(data, loss_below=0.3)
    read = pc.Diagnosis.load(folder / "d" / "diagnosis.json")
    assert read.to_dict() == record and record["format"] == "prunecore.diagnosis"
    assert record["provenance"] == found.provenance and read.loss_below == 0.3
    assert read.loss == pytest.approx(found.loss, abs=1e-5)
    for name in ("state_variance", "gradient_norm", "loss_increase"):
        assert getattr(read, name) == pytest.approx(getattr(found, name), rel=1e-3, abs=1e-5)
    assert list(read.identities) == [
        each["unit"] for each in record["verdict"]["block"]["identities"]
    ]
    names = [f"diagnosis-{part}.{suffix}" for part in PARTS for suffix in ("png", "svg")]
    assert sorted(p.name for p in (folder / "d").iterdir()) == sorted(["diagnosis.json", *names])
    for path in (folder / "d").glob("*.png"):
        check_picture(path)


def test_diagnose_prints_blocks_and_verdict_within_80_columns(folder: Path) -> None:
    bounds = "--angular-below 0.4 --loss-below 9"
    done = run(folder, f"diagnose model {SMALL} --parts angular,removals {bounds} --out d")
    assert done.stderr == ""
    said = " ".join(done.stdout.split())
    assert "11 of 12 blocks have become identities: block.1 (" in said
    assert (
        "An identity turns the hidden state by less than 0.4 pi and moves the loss by less than 9"
        in said
    )
    assert "Not measured: gradients: not asked for" in said
    assert "block.1 *" in said and "block.0 *" not in said
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= 80
    assert not (folder / "d" / "diagnosis-variance.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (f"{SMALL} --parts pulse --out o", "no part 'pulse' of a diagnosis"),
        (f"{SMALL} --loss-below 0 --out o", "loss_below is 0"),
        (f"{SMALL} --mask gone.json --out o", "gone.json"),
        (f"{SMALL} --out model/config.json", "config.json"),
    ],
)
def test_bad_input_of_diagnose_gives_one_sentence_and_exit_code_2(
    folder: Path, arguments: str, words: str
) -> None:
    done = run(folder, f"diagnose model {arguments}", 2)
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("prunecore: ") and words in done.stderr
    assert not (folder / "o").exists()
