# SPDX-License-Identifier: Apache-2.0
"""The recovery study: its numbers, its files, its command."""

from __future__ import annotations

from pathlib import Path

import prunecore as pc
import pytest
from prunecore.cli.recovery_tables import study_markdown
from prunecore.data.documents import documents
from prunecore.data.text import load_tokenizer, tokenize
from prunecore.data.text_split import split_by_document
from prunecore.plots import recovery_losses
from prunecore.studies.study_recovery import METHODS
from study_checks import check_file, written_by_command


@pytest.fixture(scope="module")
def study(tales_dir: Path) -> pc.RecoveryStudy:
    with pc.open(tales_dir) as model:
        text = pc.Data.from_text(tales_dir / "stories.jsonl", model, 128)
        return pc.study_recovery(
            model, text[:16], text[16:24], ["attention", "block"], [1, 2], rank=4, steps=2,
            step_tokens=256,
        )  # fmt: skip


def test_recovery_study_has_every_method_at_every_removal(
    study: pc.RecoveryStudy, tales: pc.Model
) -> None:
    assert study.methods == ["pruned", *(method.name for method in METHODS)]
    removals = [("attention", 1), ("attention", 2), ("block", 1), ("block", 2)]
    assert study.removals == removals
    assert len(study.points) == 4 * 9
    for granularity, count in removals:
        pruned = study.at(granularity, count, "pruned")
        assert len(pruned.removed) == (count if granularity == "attention" else 2 * count)
        assert pruned.share == pruned.tokens == pruned.parameters == 0
        for method in METHODS:
            point = study.at(granularity, count, method.name)
            assert point.removed == pruned.removed and point.seconds > 0
            lost = pruned.loss - study.loss
            assert point.share * lost == pytest.approx(pruned.loss - point.loss)
            trained = 2 * 256 if method.objective != "closed_form" else 0
            learnt = 0 if method.start == "zero" else 16 * 128
            assert point.tokens <= learnt + trained and point.tokens >= trained > -1
    with pytest.raises(pc.ArgumentError, match="no kl with 3 of block"):
        study.at("block", 3, "kl")


def test_losses_are_those_of_the_library(
    study: pc.RecoveryStudy, tales: pc.Model, tales_dir: Path
) -> None:
    text = pc.Data.from_text(tales_dir / "stories.jsonl", tales, 128)
    held_out = text[16:24]
    assert study.loss == pytest.approx(tales.evaluate(held_out).loss, abs=1e-6)
    point = study.at("attention", 2, "closed_form")
    scores = tales.score(text[:16], "leave_one_out_loss", "attention")
    mask = scores.prune(2)
    assert point.removed == tuple(mask.removed)
    adapters = tales.recover(mask, text[:16], rank=4)
    assert point.loss == pytest.approx(tales.evaluate(held_out, adapters=adapters).loss, abs=1e-6)
    assert point.loss < study.at("attention", 2, "bias").loss


def test_recovery_study_comes_back_from_its_file(study: pc.RecoveryStudy, tmp_path: Path) -> None:
    check_file(study, tmp_path / "study.json")


def test_markdown_of_the_recovery_study_has_every_number(study: pc.RecoveryStudy) -> None:
    lines = study_markdown(study).splitlines()
    rows = [line for line in lines if line.startswith("| 2 block ")]
    assert len(rows) == 2
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")][1:]
    assert cells == [f"{study.at('block', 2, method).loss:.3f}" for method in study.methods]
    assert {line.count("|") for line in lines if line.startswith("|")} == {11, 10, 5}


def test_recovery_study_draws_its_numbers(study: pc.RecoveryStudy) -> None:
    figure = recovery_losses(study)
    assert len(figure.axes) == 4  # losses and shares of two granularities
    pruned = figure.axes[0].lines[0]
    assert list(pruned.get_xdata()) == [0, 1, 2]
    wanted = [study.loss, *(study.at("attention", n, "pruned").loss for n in (1, 2))]
    assert list(pruned.get_ydata()) == wanted
    assert len(figure.axes[0].lines) == 9 and len(figure.axes[2].lines) == 8
    one = pc.RecoveryStudy(study.loss, tuple(p for p in study.points if p.n_removed == 2))
    bars = recovery_losses(one)
    (axes,) = bars.axes
    assert len(axes.patches) == 2 * 8  # one number of each granularity: bars
    with pytest.raises(pc.ArgumentError):
        recovery_losses(pc.RecoveryStudy(1.0, ()))


def test_recovery_study_refuses_wrong_options(tales: pc.Model, tales_dir: Path) -> None:
    text = pc.Data.from_text(tales_dir / "stories.jsonl", tales, 128)[:4]
    for granularities, counts in (([], [1]), (["block"], []), (["block"], [0]), (["heads"], [1])):
        with pytest.raises(pc.ArgumentError):
            pc.study_recovery(tales, text, text, granularities, counts)


def test_recovery_study_keeps_documents_on_one_side(
    tales: pc.Model, tales_dir: Path, tmp_path: Path
) -> None:
    path = tales_dir / "plays.jsonl"
    learnt, held_out = split_by_document([path], tales, None)
    assert (len(learnt), len(held_out)) == (200, 40)
    encoder = load_tokenizer(tales)
    rows = [tuple(tokenize(encoder, text)) for text in documents(path)]
    assert [tuple(row) for row in learnt.sequences] == rows[:200]
    assert [tuple(row) for row in held_out.sequences] == rows[200:]
    packed, _ = split_by_document([path, path], tales, 64)
    assert {len(row) for row in packed.sequences} == {64}
    (tmp_path / "one.txt").write_text("Only one document.")
    with pytest.raises(pc.DataError, match=r"one\.txt holds 1 document"):
        split_by_document([tmp_path / "one.txt"], tales)


def test_the_command_writes_table_json_and_figure(tmp_path: Path) -> None:
    options = "--quick --most 2 --steps 2 --step-tokens 256 --granularity attention,block --rank 4"
    found = written_by_command(tmp_path, "recovery", options, pc.RecoveryStudy)
    assert found.methods == ["pruned", "bias", "closed_form", "kl_from_zero", "kl"]
