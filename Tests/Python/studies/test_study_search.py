# SPDX-License-Identifier: Apache-2.0
"""The search study: its numbers, its files, its command."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from commands import run
from prunecore.cli.search_tables import study_markdown
from prunecore.plots import search_losses
from prunecore.studies.study_search import METHODS, SearchMethod
from study_checks import check_file, written_by_command

SOME = [
    SearchMethod("greedy", "greedy"),
    SearchMethod("one-shot", "one_shot", "leave_one_out_loss"),
    SearchMethod("by cosine", "one_shot", "cosine"),
    SearchMethod("window, angular", "window", "angular", only="block"),
    SearchMethod("random", "random", seeds=(0, 1)),
]


@pytest.fixture(scope="module")
def text(tales_dir: Path) -> pc.Data:
    with pc.open(tales_dir) as model:
        return pc.Data.from_text(tales_dir / "stories.jsonl", model, 32)


@pytest.fixture(scope="module")
def study(tales_dir: Path, text: pc.Data) -> pc.SearchStudy:
    with pc.open(tales_dir) as model:
        return pc.study_search(
            model, text[:2], text[2:6], ["block", "sublayer"], [1, 3], methods=SOME
        )


def test_search_study_has_every_method_at_every_removal(
    study: pc.SearchStudy, text: pc.Data, tales: pc.Model
) -> None:
    assert study.methods == ["exhaustive", *(method.name for method in SOME)]
    assert study.removals == [("block", 1), ("block", 3), ("sublayer", 1), ("sublayer", 3)]
    assert study.damage == pytest.approx(tales.evaluate(text[:2]).loss, abs=1e-6)
    assert study.loss == pytest.approx(tales.evaluate(text[2:6]).loss, abs=1e-6)
    for point in study.points:
        assert len(point.removed) == point.n_removed * (1 + (point.granularity == "block"))
        above = study.above_best(point.granularity, point.n_removed, point.method)
        assert above >= -1e-9
        if point.method in ("exhaustive", "greedy"):
            assert above == pytest.approx(0, abs=1e-6)
        assert 0 < point.sublayers <= point.sublayers_naive
        if point.method != "random":  # a mean over seeds is of no one mask
            mask = pc.Mask.remove(point.removed, 12)
            assert point.damage == pytest.approx(tales.evaluate(text[:2], mask).loss, abs=1e-6)
            assert point.loss == pytest.approx(tales.evaluate(text[2:6], mask).loss, abs=1e-6)
    with pytest.raises(pc.ArgumentError, match="no greedy with 2 of block"):
        study.at("block", 2, "greedy")
    with pytest.raises(pc.ArgumentError, match="no window, angular with 1 of sublayer"):
        study.at("sublayer", 1, "window, angular")
    assert math.isnan(pc.SearchStudy(1.0, 1.0, study.points[1:2]).above_best("block", 1, "greedy"))


def test_costs_are_counted_with_scores(study: pc.SearchStudy) -> None:
    # Of one sequence: a pass of 24 for the scores, and one of 23 for the mask that they choose.
    assert study.at("sublayer", 1, "by cosine").sublayers == 24 + 23
    shot = study.at("sublayer", 1, "one-shot")
    assert shot.sublayers == 24 + 24 * 23 / 2 + 23
    assert shot.sublayers_naive == 24 + 24 * 23 + 23
    assert study.at("block", 3, "by cosine").sublayers == 24 + 18


def test_random_in_the_search_study_is_a_mean(
    study: pc.SearchStudy, text: pc.Data, tales: pc.Model
) -> None:
    found = [tales.search(text[:2], "random", "block", remove=3, seed=seed) for seed in (0, 1)]
    point = study.at("block", 3, "random")
    assert point.damage == pytest.approx(np.mean([each.damage for each in found]), abs=1e-6)
    assert list(point.removed) == found[0].removed


def test_search_study_comes_back_from_its_file(study: pc.SearchStudy, tmp_path: Path) -> None:
    check_file(study, tmp_path / "study.json")


def test_markdown_of_the_search_study_has_every_number(study: pc.SearchStudy) -> None:
    rows = [line for line in study_markdown(study).splitlines() if line.startswith("| greedy |")]
    assert len(rows) == 4  # losses and costs, of blocks and of sublayers
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")][1:]
    assert cells == [f"{study.at('block', n, 'greedy').loss:.3f} (0.000)" for n in (1, 3)]
    cells = [cell.strip() for cell in rows[3].strip("|").split("|")][1:]
    assert cells == [f"{study.at('sublayer', n, 'greedy').sublayers:,.0f}" for n in (1, 3)]


def test_search_study_draws_its_numbers(study: pc.SearchStudy) -> None:
    figure = search_losses(study)
    assert len(figure.axes) == 4
    greedy = next(line for line in figure.axes[0].lines if line.get_label() == "greedy")
    assert list(greedy.get_xdata()) == [1, 3]
    assert list(greedy.get_ydata()) == [study.at("block", n, "greedy").loss for n in (1, 3)]
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert legend == set(study.methods)
    with pytest.raises(pc.ArgumentError):
        search_losses(pc.SearchStudy(1.0, 1.0, ()))


def test_search_study_refuses_wrong_options(tales: pc.Model, text: pc.Data) -> None:
    for granularities, counts in (([], [1]), (["block"], []), (["block"], [13]), (["heads"], [1])):
        with pytest.raises(pc.ArgumentError):
            pc.study_search(tales, text[:1], text[:1], granularities, counts)
    assert len({method.name for method in METHODS}) == len(METHODS)


def test_the_command_writes_tables_json_and_figure(tmp_path: Path) -> None:
    options = "--quick --sequences 2 --sequence-length 32"
    found = written_by_command(tmp_path, "search", options, pc.SearchStudy)
    assert found.removals == [("block", 2), ("sublayer", 2)]
    assert {"exhaustive", "greedy", "window, loss", "tail"} < set(found.methods)
    for wrong, words in (("--remove two", "--remove is 'two'"), ("--sequences 0", "--sequences")):
        assert words in run(tmp_path, f"study search {wrong}", 2).stderr
