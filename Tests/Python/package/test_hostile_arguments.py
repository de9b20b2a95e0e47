# SPDX-License-Identifier: Apache-2.0
"""Whatever a caller passes, what is raised is of a class of `prunecore`, and says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest


def hostile() -> Iterator[Any]:
    """Values that nothing takes, or nearly nothing."""
    yield from (None, -1, 10**30, 1.5, float("nan"), float("inf"), "", "x", "\ud800", "a\0b", b"x")
    yield from ([], [[1, [2]]], [None], {}, {"a": 1}, {1: 2}, object(), [10**400], "x" * 5000)
    yield from (np.array([object()]), np.zeros((2, 3)), np.array(3), (i for i in range(3)))
    yield from (len, slice(None), ["\ud800"], True, 3)


ITEM = pc.ChoiceItem("q", ("a", "b"), 0)
SCORES = pc.Scores({"a": list(range(12))}, "block", 12)
RIGHT = [[1]], [[[1], [2]]], [0]


@pytest.fixture(scope="module")
def opened(tales_dir: Path) -> Iterator[pc.Model]:
    """The embedded model."""
    with pc.open(tales_dir) as model:
        yield model


@pytest.fixture(scope="module")
def text(opened: pc.Model, tales_dir: Path) -> pc.Data:
    """A little text."""
    return pc.Data.from_text(tales_dir / "stories.jsonl", opened, 8, limit=1)


CALLS: dict[str, Callable[[Any, pc.Model, pc.Data], Any]] = {
    "Mask": lambda a, m, d: pc.Mask(a),
    "Mask provenance": lambda a, m, d: pc.Mask([1, 0], a),
    "Mask.all": lambda a, m, d: pc.Mask.all(a),
    "Mask.remove": lambda a, m, d: pc.Mask.remove(a, 12),
    "Mask.remove n_blocks": lambda a, m, d: pc.Mask.remove("attn.0", a),
    "Mask.from_json": lambda a, m, d: pc.Mask.from_json(a),
    "Mask.load": lambda a, m, d: pc.Mask.load(a),
    "Mask.read": lambda a, m, d: pc.Mask.read(a, n_blocks=3),
    "Mask.read notation": lambda a, m, d: pc.Mask.read("none\n", a),
    "Mask.read n_blocks": lambda a, m, d: pc.Mask.read("none\n", None, a),
    "Mask.write": lambda a, m, d: pc.Mask.all(2).write(a),
    "Mask.write model": lambda a, m, d: pc.Mask.all(2).write("mergekit", model=a),
    "Data": lambda a, m, d: pc.Data(a),
    "Data weights": lambda a, m, d: pc.Data([1, 2], a),
    "Data.select": lambda a, m, d: d.select(a),
    "Data[]": lambda a, m, d: d[a],
    "Data.concatenate": lambda a, m, d: pc.Data.concatenate(a),
    "Data.from_text": lambda a, m, d: pc.Data.from_text(a, m),
    "Data.from_texts": lambda a, m, d: pc.Data.from_texts(a, m),
    "Data.from_file": lambda a, m, d: pc.Data.from_file(a, m),
    "Data.from_choices": lambda a, m, d: pc.Data.from_choices(a, m),
    "tokenizer": lambda a, m, d: pc.Data.from_texts(["x"], a),
    "sequence_length": lambda a, m, d: pc.Data.from_texts(["x"], m, a),
    "limit": lambda a, m, d: pc.Data.from_texts(["x"], m, limit=a),
    "seed": lambda a, m, d: pc.Data.from_texts(["x"], m, limit=1, seed=a),
    "scoring": lambda a, m, d: pc.Data.from_choices([ITEM], m, a),
    "shots": lambda a, m, d: pc.Data.from_choices([ITEM], m, shots=a),
    "max_tokens": lambda a, m, d: pc.Data.from_choices([ITEM], m, max_tokens=a),
    "ChoiceItem question": lambda a, m, d: pc.ChoiceItem(a, ("a", "b"), 0),
    "ChoiceItem choices": lambda a, m, d: pc.ChoiceItem("q", a, 0),
    "ChoiceItem answer": lambda a, m, d: pc.ChoiceItem("q", ("a", "b"), a),
    "ChoiceSet": lambda a, m, d: pc.ChoiceSet(a),
    "ChoiceSet examples": lambda a, m, d: pc.ChoiceSet([ITEM], a),
    "ChoiceSet.load": lambda a, m, d: pc.ChoiceSet.load(a),
    "ChoiceSet.load split": lambda a, m, d: pc.ChoiceSet.load(str(m.directory), split=a),
    "ChoiceData contexts": lambda a, m, d: pc.ChoiceData(a, *RIGHT[1:]),
    "ChoiceData candidates": lambda a, m, d: pc.ChoiceData(RIGHT[0], a, RIGHT[2]),
    "ChoiceData candidate": lambda a, m, d: pc.ChoiceData(RIGHT[0], [a], RIGHT[2]),
    "ChoiceData answers": lambda a, m, d: pc.ChoiceData(*RIGHT[:2], a),
    "ChoiceData shots": lambda a, m, d: pc.ChoiceData(*RIGHT, shots=a),
    "Scores": lambda a, m, d: pc.Scores(a, "block", 2),
    "Scores values": lambda a, m, d: pc.Scores({"a": a}, "block", 2),
    "Scores granularity": lambda a, m, d: pc.Scores({"a": [1, 2]}, a, 2),
    "Scores n_blocks": lambda a, m, d: pc.Scores({"a": [1, 2]}, "block", a),
    "Scores mask": lambda a, m, d: pc.Scores({"a": [1, 2]}, "block", 2, a),
    "Scores provenance": lambda a, m, d: pc.Scores({"a": [1, 2]}, "block", 2, None, a),
    "Scores.load": lambda a, m, d: pc.Scores.load(a),
    "Scores.from_dict": lambda a, m, d: pc.Scores.from_dict(a),
    "Scores.prune": lambda a, m, d: SCORES.prune(a),
    "Scores.prune metric": lambda a, m, d: SCORES.prune(1, a),
    "Scores.prune only": lambda a, m, d: SCORES.prune(1, only=a),
    "Scores[]": lambda a, m, d: SCORES[a],
    "SearchResult.load": lambda a, m, d: pc.SearchResult.load(a),
    "SearchResult.from_dict": lambda a, m, d: pc.SearchResult.from_dict(a),
    "SearchStudy.from_dict": lambda a, m, d: pc.SearchStudy.from_dict(a),
    "Adapters.load": lambda a, m, d: pc.Adapters.load(a),
    "open": lambda a, m, d: pc.open(a),
    "open compute": lambda a, m, d: pc.open(m.directory, a),
    "evaluate": lambda a, m, d: m.evaluate(a),
    "evaluate mask": lambda a, m, d: m.evaluate(d, mask=a),
    "evaluate batch_tokens": lambda a, m, d: m.evaluate(d, batch_tokens=a),
    "score": lambda a, m, d: m.score(a),
    "score metrics": lambda a, m, d: m.score(d, a),
    "score granularity": lambda a, m, d: m.score(d, ["cosine"], granularity=a),
    "cost": lambda a, m, d: m.cost(a),
    "generate": lambda a, m, d: m.generate(a, max_new_tokens=1),
    "curve": lambda a, m, d: m.curve(d, a),
    "curve max_removed": lambda a, m, d: m.curve(d, SCORES, "a", 0 if a is None else a),
    "search data": lambda a, m, d: m.search(a, "tail", remove=1),
    "search remove": lambda a, m, d: m.search(d, "tail", remove=a),
    "recover": lambda a, m, d: m.recover(a, pc.Mask.remove("attn.3", 12)),
    "damages": lambda a, m, d: m.damages(d, a),
    "Game": lambda a, m, d: pc.Game(a),
    "Search": lambda a, m, d: pc.Search(a),
    "Moments": lambda a, m, d: pc.Moments(m, a),
    "Statistics": lambda a, m, d: pc.Statistics(a),
    "compare_tasks": lambda a, m, d: pc.compare_tasks(m, a),
}


@pytest.mark.parametrize("name", CALLS)
def test_hostile_arguments_are_refused_by_the_package(
    name: str, opened: pc.Model, text: pc.Data
) -> None:
    for value in hostile():
        try:
            CALLS[name](value, opened, text)
        except pc.Error as error:
            assert str(error)
