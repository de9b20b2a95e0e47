# SPDX-License-Identifier: Apache-2.0
"""`prunecore demo`: what it writes, and that its numbers are those of the library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("demo") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "prunecore", "demo", "--out", str(out), "--json"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return out, json.loads(done.stdout)


def test_demo_prints_its_report(demo: tuple[Path, dict[str, Any]]) -> None:
    out, printed = demo
    assert json.loads((out / "report.json").read_text()) == printed
    assert sorted(path.name for path in out.iterdir()) == sorted(printed["files"])
    assert len(printed["removed"]) == 4
    assert all(name.startswith("attn.") for name in printed["removed"])
    assert printed["loss"] > printed["loss_before"]
    assert printed["cost_after"]["kv_bytes"] == 2048


def test_losses_are_those_of_the_mask(
    demo: tuple[Path, dict[str, Any]], tales: pc.Model, tales_dir: Path
) -> None:
    out, printed = demo
    mask = pc.Mask.load(out / "mask.json")
    assert mask.removed == printed["removed"]
    scores = pc.Scores.load(out / "sublayers.json")
    assert scores.metrics == pc.METRICS
    assert mask == scores.prune(4, "leave_one_out_loss", only="attention")
    data = pc.Data.from_text(tales_dir / "plays.jsonl", tales)[8:16]
    assert printed["after"]["plays"]["loss"] == pytest.approx(
        tales.evaluate(data, mask).loss, abs=1e-5
    )
    assert printed["before"]["plays"]["loss"] == pytest.approx(tales.evaluate(data).loss, abs=1e-5)
    calibration = pc.Data.concatenate(
        [
            pc.Data.from_text(tales_dir / f"{text}.jsonl", tales)[:8]
            for text in ("stories", "maths", "plays")
        ]
    )
    assert scores.provenance["data_sha256"] == calibration.digest


def test_chosen_layers_cost_less_than_random_ones(demo: tuple[Path, dict[str, Any]]) -> None:
    _, printed = demo
    random = [v for name, v in printed["alternatives"].items() if name.startswith("random")]
    assert len(random) == 3
    assert printed["alternatives"]["leave_one_out_loss"] == pytest.approx(printed["loss"], abs=1e-5)
    assert printed["loss"] < sum(random) / 3


def test_curves_cover_every_granularity_and_a_control(
    demo: tuple[Path, dict[str, Any]],
) -> None:
    out, _ = demo
    curves = json.loads((out / "curves.json").read_text())["curves"]
    found = {(curve["metric"], curve["granularity"]) for curve in curves}
    assert found == {
        (metric, granularity)
        for metric in ("cosine", "leave_one_out_loss", "random")
        for granularity in pc.GRANULARITIES
    }
    for curve in curves:
        assert [point["n_removed"] for point in curve["points"]] == list(range(13))
        assert curve["points"][0]["removed"] == []


def test_shapley_values_are_of_a_part_of_the_calibration_text(
    demo: tuple[Path, dict[str, Any]], tales: pc.Model, tales_dir: Path
) -> None:
    out, printed = demo
    scores = pc.ShapleyScores.load(out / "shapley.json")
    assert scores.granularity == "sublayer" and scores.state.estimator == "surrogate"
    assert 256 <= scores.state.told <= 512 and printed["shapley"] == scores.state.to_dict()
    part = pc.Data.concatenate(
        [
            pc.Data.from_text(tales_dir / f"{text}.jsonl", tales)[:1]
            for text in ("stories", "maths", "plays")
        ]
    )
    assert scores.provenance["data_sha256"] == part.digest
    # What is left of the uncertainty is small beside the values.
    assert 0 < scores.standard_errors.max() < 0.1 * scores.values.max()
    cosine = pc.Scores.load(out / "sublayers.json")["cosine"]
    assert scores.values.argmax() == cosine.argmax() == 1  # the first feed-forward
    assert printed["alternatives"]["shapley"] < max(printed["alternatives"].values())


def test_sublayer_curves_compare_the_ways_to_choose(demo: tuple[Path, dict[str, Any]]) -> None:
    out, _ = demo
    curves = json.loads((out / "curves-sublayers.json").read_text())["curves"]
    losses = {c["metric"]: [point["loss"] for point in c["points"]] for c in curves}
    assert losses.keys() == {"cosine", "relative_l2", "leave_one_out_loss", "shapley", "random"}
    assert {curve["granularity"] for curve in curves} == {"sublayer"}
    assert len({row[0] for row in losses.values()}) == 1  # all begin with the whole model
    scores = pc.ShapleyScores.load(out / "shapley.json")
    (by_value,) = [curve for curve in curves if curve["metric"] == "shapley"]
    assert by_value["points"][5]["removed"] == scores.prune(5).removed
    for metric in ("shapley", "leave_one_out_loss"):
        assert sum(losses[metric]) < sum(losses["random"])


def test_adapters_win_back_what_pruning_lost(
    demo: tuple[Path, dict[str, Any]], tales: pc.Model, tales_dir: Path
) -> None:
    out, printed = demo
    study = pc.RecoveryStudy.load(out / "recovery.json")
    assert study.to_dict() == printed["recovery"]
    assert study.removals == [("attention", 4), ("feed_forward", 4), ("block", 3)]
    assert study.methods == ["pruned", "bias", "closed_form", "kl"]
    assert study.loss == pytest.approx(printed["before"]["all"]["loss"], abs=1e-5)
    pruned = study.at("attention", 4, "pruned")
    assert list(pruned.removed) == printed["removed"]
    assert pruned.loss == pytest.approx(printed["loss"], abs=1e-5)
    for removal in study.removals:
        shares = [study.at(*removal, method).share for method in study.methods]
        assert 0 == shares[0] < shares[1] < shares[2] < shares[3] < 1
    # The text that they learned from is neither scored on nor held out.
    learnt = pc.Data.concatenate(
        [
            pc.Data.from_text(tales_dir / f"{text}.jsonl", tales)[16:64]
            for text in ("stories", "maths", "plays")
        ]
    )
    assert study.provenance["data_sha256"] == learnt.digest


def test_demo_writes_pictures(demo: tuple[Path, dict[str, Any]]) -> None:
    out, printed = demo
    pictures = [name for name in printed["files"] if name.endswith(".png")]
    assert len(pictures) == 8
    for name in pictures:
        with Image.open(out / name) as image:
            assert image.width > 600 and len(image.convert("L").getcolors() or []) > 8
        assert "<svg" in (out / name).with_suffix(".svg").read_text()
