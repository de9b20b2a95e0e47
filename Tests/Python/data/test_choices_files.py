# SPDX-License-Identifier: Apache-2.0
"""Multiple-choice questions: values, JSON lines, MMLU's csv files, and what is wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest

# MMLU and ARC do not come with the code. Tests of them are skipped where the folder is missing.
PUBLISHED = Path(
    os.environ.get("PRUNECORE_REFERENCE_DATA", Path(__file__).resolve().parents[4] / "shared/data")
)

SKY = {"question": "Which is blue?", "choices": ["grass", "the sky", "coal"]}
Write = Callable[[str, Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file: text as it is, records as JSON lines."""

    def call(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, str):
            content = "".join(json.dumps(record) + "\n" for record in content)
        path.write_text(content, encoding="utf-8")
        return path

    return call


@pytest.mark.parametrize("answer", [1, "B", "the sky"])
def test_answer_is_an_index_a_letter_or_a_text(write: Write, answer: object) -> None:
    (item,) = pc.ChoiceSet.load(write("a.jsonl", [{**SKY, "answer": answer}]))
    wanted = pc.ChoiceItem("Which is blue?", ("grass", "the sky", "coal"), 1)
    assert item == wanted and item.subject == ""


def test_other_names_of_the_fields_and_blank_lines(write: Write) -> None:
    record = {"query": "Question: Which is blue?", "choices": SKY["choices"], "gold": 2}
    path = write("a.jsonl", "\n" + json.dumps(record) + "\n\n" + json.dumps(record) + "\n")
    found = pc.ChoiceSet.load(path)
    assert [item.question for item in found] == ["Question: Which is blue?"] * 2
    assert [item.answer for item in found] == [2, 2]


def test_text_of_a_choice_that_is_also_a_letter(write: Write) -> None:
    letters = {"question": "Which comes first?", "choices": ["B", "A"]}
    path = write("a.jsonl", [{**letters, "answer": "A"}])
    with pytest.raises(pc.FormatError, match="line 1: the answer is 'A', which stands for several"):
        pc.ChoiceSet.load(path)
    (item,) = pc.ChoiceSet.load(write("b.jsonl", [{**letters, "answer": 1}]))
    assert item.choices[item.answer] == "A"
    same = {"question": "Which comes first?", "choices": ["A", "B"], "answer": "A"}
    assert pc.ChoiceSet.load(write("c.jsonl", [same]))[0].answer == 0


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({**SKY, "answer": 3}, "the answer is 3, but the choices are 0 to 2"),
        ({**SKY, "answer": -1}, "the answer is -1, but the choices are 0 to 2"),
        ({**SKY, "answer": "D"}, "the answer is 'D', which is none of them"),
        ({**SKY, "answer": "the sea"}, "the answer is 'the sea', which is none of them"),
        ({**SKY, "answer": True}, "the answer True is not an index"),
        ({**SKY, "answer": None}, "the answer None is not an index"),
        ({**SKY, "answer": 1.0}, "the answer 1.0 is not an index"),
        (SKY, "the field answer (or gold) is missing"),
        ({"choices": ["a", "b"], "answer": 0}, "the field question (or query) is missing"),
        ({"question": "Which?", "answer": 0}, "the field choices is missing"),
        ({"question": "Which?", "choices": [], "answer": 0}, "at least 2 choices are needed"),
        ({"question": "Which?", "choices": ["a"], "answer": 0}, "but there are 1"),
        ({"question": "Which?", "choices": "ab", "answer": 0}, '"choices" is not a list'),
        (
            {"question": "Which?", "choices": ["a", " "], "answer": 0},
            "choice 1 is not text, or empty",
        ),
        (
            {"question": "Which?", "choices": ["a", 2], "answer": 0},
            "choice 1 is not text, or empty",
        ),
        (
            {"question": " ", "choices": ["a", "b"], "answer": 0},
            "the question is not text, or empty",
        ),
        ({**SKY, "answer": 0, "subject": 7}, "the subject 7 is not text"),
        ([1], "no JSON object"),
    ],
)
def test_bad_lines_of_questions_are_named(write: Write, record: object, words: str) -> None:
    path = write("a.jsonl", [{**SKY, "answer": 0}, record])
    with pytest.raises(pc.FormatError) as failure:
        pc.ChoiceSet.load(path)
    assert str(failure.value).startswith(f"{path}, line 2: ") and words in str(failure.value)


def test_bad_files_of_questions_are_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(pc.FormatError, match=r"a\.jsonl, line 1: no JSON"):
        pc.ChoiceSet.load(write("a.jsonl", "{\n"))
    with pytest.raises(pc.FormatError, match=r"b\.jsonl holds no multiple-choice question"):
        pc.ChoiceSet.load(write("b.jsonl", "\n"))
    with pytest.raises(pc.FileError, match=r"gone\.jsonl cannot be read"):
        pc.ChoiceSet.load(tmp_path / "gone.jsonl")
    with pytest.raises(pc.FileError, match="is not an MMLU directory"):
        pc.ChoiceSet.load(tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"caf\xe9,a,b,A\n")
    with pytest.raises(pc.FormatError, match=r"latin\.csv.*is not UTF-8 text"):
        pc.ChoiceSet.load(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("Which?,a,b", "3 fields"),
        ("Which?,a,b,C", "the answer is 'C', but the choices are A to B"),
        ("Which?,a,b,b", "the answer is 'b', but the choices are A to B"),
        ("Which?,a,b,", "the answer is ''"),
        ('Which?,a,"b"c,A', "','"),
        ("Which?,a,,A", "choice 1 is not text, or empty"),
    ],
)
def test_bad_rows_of_mmlu_are_named(write: Write, row: str, words: str) -> None:
    path = write("birds_test.csv", f"Is it?,yes,no,A\n{row}\n")
    with pytest.raises(pc.FormatError) as failure:
        pc.ChoiceSet.load(path)
    assert str(failure.value).startswith(f"{path}, line 2: ") and words in str(failure.value)


def write_mmlu(write: Write, root: str = "mmlu/data") -> None:
    write(
        f"{root}/test/old_birds_test.csv", 'Is "it",yes,no,B\n"Two\nlines, and\x85a mark",a,b,A\n'
    )
    write(f"{root}/test/art_test.csv", "Which?,w,x,y,z,D\n")
    write(f"{root}/dev/art_dev.csv", "First?,1,2,3,4,C\nSecond?,5,6,7,8,A\n")
    write(f"{root}/dev/old_birds_dev.csv", "Third?,yes,no,A\n")


def test_choice_set_loads_an_mmlu_directory(write: Write, tmp_path: Path) -> None:
    write_mmlu(write)
    found = pc.ChoiceSet.load(tmp_path / "mmlu" / "data")
    assert found.subjects == ("art", "old_birds") and len(found) == 3
    assert found[0] == pc.ChoiceItem("Which?", ("w", "x", "y", "z"), 3, "art")
    assert found[2].question == "Two\nlines, and\x85a mark" and found[2].answer == 0
    assert len(found.examples) == 3
    assert [item.question for item in found.examples_for(found[0], 2)] == ["First?", "Second?"]
    assert pc.ChoiceSet.load(tmp_path / "mmlu").items == found.items
    with pytest.raises(pc.FileError, match="it lacks val/"):
        pc.ChoiceSet.load(tmp_path / "mmlu", split="val")
    alone = pc.ChoiceSet.load(tmp_path / "mmlu" / "data" / "test" / "art_test.csv")
    assert alone.items == (found[0],) and alone.examples == ()


def test_examples_are_of_the_subject_and_never_the_question_itself(
    write: Write, tmp_path: Path
) -> None:
    write_mmlu(write)
    found = pc.ChoiceSet.load(tmp_path / "mmlu")
    with pytest.raises(pc.ArgumentError, match="2 shots need 2 examples of old_birds, not 1"):
        found.examples_for(found[1], 2)
    items = [pc.ChoiceItem(f"Number {i}?", ("a", "b"), 0) for i in range(3)]
    same = pc.ChoiceSet(items, items)
    assert same.examples_for(items[0], 2) == [items[1], items[2]]
    assert same.examples_for(items[0], 3) == [items[1], items[2]]
    with pytest.raises(pc.ArgumentError, match="4 shots need 4 examples, not 3"):
        same.examples_for(items[0], 4)
    # Examples that are of no subject serve every subject without its own.
    other = pc.ChoiceItem("Who?", ("a", "b"), 1, "people")
    assert same.examples_for(other, 1) == [items[0]]
    lines = write("shots.jsonl", [{**SKY, "answer": 0}])
    one = pc.ChoiceSet.load(write("q.jsonl", [{**SKY, "answer": 1}]), lines)
    assert one.examples_for(one[0], 1)[0].answer == 0


def test_limit_takes_the_first_and_seed_draws() -> None:
    items = [pc.ChoiceItem(f"Number {i}?", ("a", "b"), 0) for i in range(20)]
    whole = pc.ChoiceSet(items, items[:2])
    assert whole.draw(3).items == tuple(items[:3])
    drawn = whole.draw(5, seed=1)
    places = [items.index(item) for item in drawn]
    assert places == sorted(places) and len(set(places)) == 5 and places != [0, 1, 2, 3, 4]
    assert drawn.examples == whole.examples and whole.draw(5, seed=1).items == drawn.items
    assert whole.draw(None).items == whole.items and whole.draw(99, seed=3).items == whole.items
    assert whole[2:4].items == tuple(items[2:4])
    with pytest.raises(pc.ArgumentError, match="limit is 0"):
        whole.draw(0)


def test_choice_sets_check_their_items() -> None:
    with pytest.raises(pc.ArgumentError, match="no multiple-choice questions"):
        pc.ChoiceSet([])
    with pytest.raises(pc.ArgumentError, match="question 0 is a dict"):
        pc.ChoiceSet([{}])  # type: ignore[list-item]
    with pytest.raises(pc.ArgumentError, match="the choices .* must be a list"):
        pc.ChoiceItem("Which?", "ab", 0)  # type: ignore[arg-type]


def test_real_collections_can_be_read() -> None:
    if not (PUBLISHED / "mmlu").is_dir() or not (PUBLISHED / "arc_easy.jsonl").is_file():
        pytest.skip("reference data (MMLU, ARC-easy) not present")
    mmlu = pc.ChoiceSet.load(PUBLISHED / "mmlu")
    assert len(mmlu.subjects) == 57 and len(mmlu.examples) == 5 * 57
    assert all(len(item.choices) == 4 for item in mmlu)
    for subject in mmlu.subjects:
        first = next(item for item in mmlu if item.subject == subject)
        assert len(mmlu.examples_for(first, 5)) == 5
    arc = pc.ChoiceSet.load(PUBLISHED / "arc_easy.jsonl")
    assert len(arc) == 2376 and arc[1].choices[arc[1].answer] == "breathing mask"
