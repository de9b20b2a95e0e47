# SPDX-License-Identifier: Apache-2.0
"""`recover --kind shared` and `score --sharing`."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from commands import SMALL, only_json, run


@pytest.fixture
def masked(folder: Path) -> Path:
    """The folder, with a mask that removes two feed-forwards."""
    pc.Mask.remove(["ffn.3", "ffn.5"], 12).save(folder / "mask.json")
    return folder


def test_shared_weights_are_exported_as_a_model(masked: Path) -> None:
    arguments = f"recover model {SMALL} --mask mask.json --kind shared --rank 4 --out out --json"
    record = only_json(run(masked, arguments))
    assert record["removed"] == ["ffn.3", "ffn.5"]
    assert record["parameter_bytes"] == record["parameter_bytes_before"] - record["bytes_saved"]
    with pc.open(masked / "out") as model:
        assert [weight.rank for weight in model.shared_weights] == [4] * 6
        assert model.shape.parameter_bytes == record["parameter_bytes"]


def test_a_budget_of_bytes_and_training_are_taken(masked: Path) -> None:
    arguments = (
        f"recover model {SMALL} --mask mask.json --kind shared --bytes 60000 --scaled "
        "--objective kl --steps 2 --first-share 1 --out out"
    )
    output = run(masked, arguments).stdout
    assert "best of the training's steps" in output and "% saved" in output
    with pc.open(masked / "out") as model:
        assert sum(weight.bytes for weight in model.shared_weights) <= 60000


def test_pairs_are_scored_without_data(masked: Path) -> None:
    record = only_json(run(masked, "score model --sharing --error 0.5 --out found.json --json"))
    found = pc.SharingAnalysis.load(masked / "found.json")
    assert found.to_dict() == record
    assert found.errors == [0.5] and not found.is_weighted


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("--kind shared --input raw", "--input is of adapters"),
        ("--kind bias --bytes 5", "--bytes is of --kind shared"),
        ("--kind sharde", "sharde"),
        ("--kind shared --rank auto", "rank"),
    ],
)
def test_options_of_the_other_kind_are_refused(masked: Path, flags: str, text: str) -> None:
    done = run(masked, f"recover model {SMALL} --mask mask.json {flags} --out out", code=2)
    assert text in done.stderr and "Traceback" not in done.stderr
    assert not (masked / "out").exists()
