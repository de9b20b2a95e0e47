# SPDX-License-Identifier: Apache-2.0
"""What products multiply in: how it is chosen, what records say of it, what bf16 changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import prunecore as pc
import pytest

HAS_BF16 = bool(pc.runtime_info().bf16_kernels)
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="the CPU has no bf16 products")
lacks_bf16 = pytest.mark.skipif(HAS_BF16, reason="the CPU has bf16 products")

TYPES = [
    pytest.param("float32"),
    pytest.param("bfloat16", marks=needs_bf16),
]


@pytest.fixture(scope="module")
def data(tales_dir: Path) -> pc.Data:
    with pc.open(tales_dir) as model:
        return pc.Data.from_text(tales_dir / "stories.jsonl", model, sequence_length=128, limit=8)


@pytest.mark.parametrize("compute", TYPES)
def test_the_type_named_is_the_type_used(
    tales_dir: Path, compute: Literal["float32", "bfloat16"], data: pc.Data
) -> None:
    with pc.open(tales_dir, compute=compute) as model, pc.open(tales_dir, compute) as again:
        assert model.shape.compute == compute
        assert model.shape.to_dict()["compute"] == compute
        assert model.provenance["compute"] == compute
        assert model.score(data[:1], "cosine").provenance["model"]["compute"] == compute
        assert model.statistics(data[:1]).scores("cosine").provenance["compute"] == [compute]
        losses = model.token_losses(data)  # the same inputs give the same results
        np.testing.assert_array_equal(model.token_losses(data), losses)
        np.testing.assert_array_equal(again.token_losses(data), losses)


@needs_bf16
def test_bf16_moves_results_but_little(tales_dir: Path, data: pc.Data) -> None:
    with pc.open(tales_dir, "float32") as wide, pc.open(tales_dir, "bfloat16") as narrow:
        expected, found = wide.evaluate(data).loss, narrow.evaluate(data).loss
        assert found != expected  # it is another way to compute
        assert found == pytest.approx(expected, rel=1e-3)
        mask = pc.Mask.remove(["attn.5", "ffn.8"], 12)
        assert narrow.evaluate(data, mask).loss == pytest.approx(
            wide.evaluate(data, mask).loss, rel=1e-3
        )
        for granularity in ("sublayer", "block"):
            one = wide.score(data, "cosine", granularity)["cosine"]
            two = narrow.score(data, "cosine", granularity)["cosine"]
            ranks = [np.argsort(np.argsort(values)) for values in (one, two)]
            assert np.corrcoef(*ranks)[0, 1] >= 0.999  # Spearman's correlation


def test_the_variable_decides_where_the_program_does_not(
    tales_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(compute: Literal["float32", "bfloat16"] | None = None) -> str:
        with pc.open(tales_dir, compute) as model:
            return model.shape.compute

    assert used() == "float32"  # what the tests run under
    automatic = "bfloat16" if HAS_BF16 else "float32"
    monkeypatch.setenv("PRUNECORE_COMPUTE", "")
    assert used() == automatic
    monkeypatch.delenv("PRUNECORE_COMPUTE")
    assert used() == automatic
    assert used("float32") == "float32"
    monkeypatch.setenv("PRUNECORE_COMPUTE", "half")
    with pytest.raises(pc.ArgumentError, match='PRUNECORE_COMPUTE is "half".*float32 or bfloat16'):
        used()
    assert used("float32") == "float32"
    monkeypatch.setenv("PRUNECORE_COMPUTE", "bfloat16")
    if HAS_BF16:
        assert used() == "bfloat16"
    else:
        with pytest.raises(pc.UnsupportedError, match="PRUNECORE_COMPUTE"):
            used()


def test_unknown_compute_types_are_refused(tales_dir: Path) -> None:
    for wrong in ("bf16", "automatic", "", 1):
        with pytest.raises(pc.ArgumentError, match=f"compute is '{wrong}'.*float32 or bfloat16"):
            pc.open(tales_dir, wrong)  # type: ignore[arg-type]
    assert pc.COMPUTE_TYPES == ("float32", "bfloat16")


@lacks_bf16
def test_bf16_needs_its_instructions(tales_dir: Path) -> None:
    with pytest.raises(pc.UnsupportedError, match="bfloat16.*float32"):
        pc.open(tales_dir, "bfloat16")


def test_a_checkpoint_goes_on_in_its_own_type(
    tales: pc.Model, data: pc.Data, tmp_path: Path
) -> None:
    file = tmp_path / "game.checkpoint"
    options: dict[str, Any] = {"granularity": "block", "budget": 20, "checkpoint": file}
    tales.shapley(data[:1], **options)
    line, _, game = file.read_bytes().partition(b"\n")
    header = json.loads(line)
    assert header["run"]["compute"] == "float32"
    header["run"]["compute"] = "bfloat16"
    file.write_bytes(json.dumps(header).encode() + b"\n" + game)
    with pytest.raises(pc.ArgumentError, match='compute is "bfloat16" there and "float32" here'):
        tales.shapley(data[:1], **options)


@pytest.mark.parametrize("compute", TYPES)
def test_commands_take_and_record_the_type(tales_dir: Path, compute: str) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "prunecore", *map(str, arguments)]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    text = ("--data", tales_dir / "maths.jsonl", "--sequence-length", 64, "--limit", 2)
    given = ("--compute", compute, "--json")
    shown = json.loads(run("info", tales_dir, *given).stdout)
    assert shown["model"]["compute"] == compute
    assert shown["runtime"]["loop_kernels"] == pc.runtime_info().loop_kernels
    assert shown["runtime"]["bf16_kernels"] == pc.runtime_info().bf16_kernels
    measured = json.loads(run("evaluate", tales_dir, *text, *given).stdout)
    assert measured["model"]["compute"] == compute
    scored = json.loads(run("score", tales_dir, *text, *given, "--metric", "cosine").stdout)
    assert scored["provenance"]["model"]["compute"] == compute
    wrong = run("info", tales_dir, "--compute", "half")
    assert wrong.returncode == 2 and "compute is 'half'" in wrong.stderr and not wrong.stdout
