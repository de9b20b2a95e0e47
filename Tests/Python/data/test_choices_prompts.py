# SPDX-License-Identifier: Apache-2.0
"""Prompts of multiple-choice questions: their text to the byte, and their tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from prunecore.data.choice_prompts import prompt_text
from prunecore.data.text import load_tokenizer, tokenize
from tokenizers import Tokenizer, models, pre_tokenizers, processors

ITEM = pc.ChoiceItem(
    "What is 2 + 3?", ("4", "five, or 5", "6", "none of these"), 1, "elementary_mathematics"
)
EXAMPLES = [
    pc.ChoiceItem("What is 1 + 1?", ("1", "3", "2", "0"), 2, "elementary_mathematics"),
    pc.ChoiceItem("Is 7 odd?", ("yes", "no"), 0, "elementary_mathematics"),
]
PLAIN = pc.ChoiceItem("Question: Which one flies?", ("a stone", "a bird"), 1)

LETTER_PROMPT = (
    "The following are multiple choice questions (with answers) about  elementary mathematics."
    "\n\n"
    "What is 1 + 1?\nA. 1\nB. 3\nC. 2\nD. 0\nAnswer: C\n\n"
    "Is 7 odd?\nA. yes\nB. no\nAnswer: A\n\n"
    "What is 2 + 3?\nA. 4\nB. five, or 5\nC. 6\nD. none of these\nAnswer:"
)


def test_prompt_of_mmlu_to_the_byte() -> None:
    assert prompt_text(ITEM, EXAMPLES, "letter") == LETTER_PROMPT
    assert prompt_text(ITEM, [], "letter") == (
        "The following are multiple choice questions (with answers) about  elementary mathematics."
        "\n\n"
        "What is 2 + 3?\nA. 4\nB. five, or 5\nC. 6\nD. none of these\nAnswer:"
    )
    assert prompt_text(PLAIN, [], "letter") == (
        "Question: Which one flies?\nA. a stone\nB. a bird\nAnswer:"
    )


@pytest.mark.parametrize("scoring", ["sum", "mean"])
def test_choices_are_not_listed_where_their_text_is_scored(scoring: str) -> None:
    assert prompt_text(ITEM, EXAMPLES, scoring) == (
        "The following are multiple choice questions (with answers) about  elementary mathematics."
        "\n\n"
        "What is 1 + 1?\nAnswer: 2\n\n"
        "Is 7 odd?\nAnswer: yes\n\n"
        "What is 2 + 3?\nAnswer:"
    )
    assert prompt_text(PLAIN, [], scoring) == "Question: Which one flies?\nAnswer:"


def test_tokens_of_letters_follow_their_prompt(tales_dir: Path) -> None:
    data = pc.Data.from_choices(pc.ChoiceSet([ITEM], EXAMPLES), tales_dir, shots=2)
    plain = Tokenizer.from_file(str(tales_dir / "tokenizer.json"))
    assert data.contexts[0].tolist() == plain.encode(LETTER_PROMPT).ids
    # The paper's `input_ids[-1]`, of the letter as it stands after a space.
    letters = [[plain.encode(f" {letter}").ids[-1]] for letter in "ABCD"]
    assert [row.tolist() for row in data.candidates[0]] == letters
    assert data.answers == (1,) and data.subjects == ("elementary_mathematics",)
    assert (data.shots, data.score, data.scoring) == ((2,), "sum", "letter")
    whole = plain.encode(LETTER_PROMPT + " B").ids
    assert data.sequences[0].tolist() == whole and data.n_sequences == 1


@pytest.mark.parametrize("scoring", ["sum", "mean"])
def test_tokens_of_choices_follow_their_prompt(tales_dir: Path, scoring: str) -> None:
    data = pc.Data.from_choices(
        pc.ChoiceSet([ITEM], EXAMPLES),
        tales_dir,
        scoring,  # type: ignore[arg-type]
        shots=1,
    )
    prompt = prompt_text(ITEM, EXAMPLES[:1], scoring)
    plain = Tokenizer.from_file(str(tales_dir / "tokenizer.json"))
    assert data.contexts[0].tolist() == plain.encode(prompt).ids
    for choice, row in zip(ITEM.choices, data.sequences, strict=True):
        assert row.tolist() == plain.encode(f"{prompt} {choice}").ids
    assert data.score == data.scoring == scoring and data.n_sequences == 4 and len(data) == 1
    weights = np.split(data.token_weights, np.cumsum([len(row) for row in data.sequences])[:-1])
    for index, (row, weight) in enumerate(zip(data.candidates[0], weights, strict=True)):
        wanted = [0.0] * len(data.contexts[0]) + [float(index == 1)] * len(row)
        assert weight.tolist() == wanted


def characters(*extra: str, unknown: str | None = None) -> Tokenizer:
    """A tokenizer of single characters, and of the longer tokens given."""
    alphabet = [chr(code) for code in range(32, 127) if chr(code) not in (unknown or "")] + ["\n"]
    vocabulary = {token: index for index, token in enumerate(["<unk>", *alphabet, *extra])}
    merges = [(token[0], token[1]) for token in extra if len(token) == 2]
    model = models.BPE(vocabulary, merges, unk_token="<unk>")
    return Tokenizer(model)


def test_a_space_that_is_a_token_of_its_own_belongs_to_the_prompt() -> None:
    tokenizer = characters()
    data = pc.Data.from_choices([PLAIN], tokenizer)
    prompt = prompt_text(PLAIN, [], "letter")
    assert data.contexts[0].tolist() == tokenizer.encode(prompt + " ").ids
    assert [row.tolist() for row in data.candidates[0]] == [
        tokenizer.encode("A").ids,
        tokenizer.encode("B").ids,
    ]
    # Of a choice's text nothing is left out, though both begin with " a ".
    summed = pc.Data.from_choices([PLAIN], tokenizer, "sum")
    assert [len(row) for row in summed.candidates[0]] == [len(" a stone"), len(" a bird")]


def test_letters_that_are_not_all_one_token_are_scored_whole() -> None:
    tokenizer = characters(" B")
    data = pc.Data.from_choices([PLAIN], tokenizer)
    assert data.contexts[0].tolist() == tokenizer.encode(prompt_text(PLAIN, [], "letter")).ids
    assert [row.tolist() for row in data.candidates[0]] == [
        tokenizer.encode(" A").ids,
        tokenizer.encode(" B").ids,
    ]
    assert [len(row) for row in data.candidates[0]] == [2, 1]


def test_tokens_across_the_end_of_the_prompt() -> None:
    tokenizer = characters(": ")
    data = pc.Data.from_choices([PLAIN], tokenizer, "mean")
    # ": " is one token, so that it is none of the prompt's: the context ends before it.
    prompt = prompt_text(PLAIN, [], "mean")
    assert data.contexts[0].tolist() == tokenizer.encode(prompt[:-1]).ids
    assert data.candidates[0][1].tolist() == tokenizer.encode(": a bird").ids
    with pytest.raises(pc.DataError, match='joins the letters with the end of "Answer:"'):
        pc.Data.from_choices([PLAIN], tokenizer)


def test_letters_that_the_tokenizer_does_not_know() -> None:
    with pytest.raises(pc.DataError, match="does not tell the letters A to B apart"):
        pc.Data.from_choices([PLAIN], characters(unknown="AB"))


def test_start_token_comes_once_and_first() -> None:
    tokenizer = characters("<s>")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([])
    tokenizer.add_special_tokens(["<s>"])
    start = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", start)]
    )
    for scoring in ("letter", "sum"):
        data = pc.Data.from_choices([PLAIN], tokenizer, scoring)  # type: ignore[arg-type]
        assert data.contexts[0].tolist().count(start) == 1 and data.contexts[0][0] == start
        assert all(start not in row for row in data.candidates[0])


def test_shots_are_left_out_until_the_prompt_fits(tales_dir: Path, tales: pc.Model) -> None:
    tokenizer = load_tokenizer(tales_dir)
    lengths = [
        len(tokenize(tokenizer, prompt_text(ITEM, EXAMPLES[:k], "letter"))) for k in range(3)
    ]
    questions = pc.ChoiceSet([ITEM], EXAMPLES)
    for longest, wanted in (
        (lengths[2], 2),
        (lengths[2] - 1, 1),
        (lengths[1], 1),
        (lengths[1] - 1, 0),
        (1, 0),
    ):
        data = pc.Data.from_choices(questions, tales_dir, shots=2, max_tokens=longest)
        assert data.shots == (wanted,) and len(data.contexts[0]) == lengths[wanted]
    # The longest choice counts, too, but for its last token, from which nothing is predicted.
    prompts = [len(tokenize(tokenizer, prompt_text(ITEM, EXAMPLES[:k], "sum"))) for k in range(3)]
    longest_choice = max(len(tokenize(tokenizer, f" {c}")) - 1 for c in ITEM.choices)
    needed = prompts[2] + longest_choice - 1
    for longest, wanted in ((needed, 2), (needed - 1, 1)):
        data = pc.Data.from_choices(questions, tales_dir, "sum", shots=2, max_tokens=longest)
        assert data.shots == (wanted,)
    # The embedded model's context is 1024: shorter than the 2048 of MMLU.
    long = pc.ChoiceSet(
        [ITEM], [pc.ChoiceItem("word " * 400, ("a", "b"), 0, ITEM.subject) for _ in range(3)]
    )
    by_model = pc.Data.from_choices(long, tales, shots=3)
    by_path = pc.Data.from_choices(long, tales_dir, shots=3)
    assert len(by_model.contexts[0]) <= 1024 < len(by_path.contexts[0]) <= 2048
    assert by_model.shots < by_path.shots


def test_data_from_choices_refuses_wrong_options(tales_dir: Path, tmp_path: Path) -> None:
    many = pc.ChoiceItem("Which?", tuple(f"number {i}" for i in range(27)), 3)
    with pytest.raises(pc.ArgumentError, match="question 0 has 27 choices, but there are only 26"):
        pc.Data.from_choices([many], tales_dir)
    assert len(pc.Data.from_choices([many], tales_dir, "sum").candidates[0]) == 27
    with pytest.raises(pc.ArgumentError, match="scoring is 'best'"):
        pc.Data.from_choices([ITEM], tales_dir, "best")  # type: ignore[arg-type]
    with pytest.raises(pc.ArgumentError, match="shots is -1"):
        pc.Data.from_choices([ITEM], tales_dir, shots=-1)
    with pytest.raises(pc.ArgumentError, match="1 shots need 1 examples of elementary_mathematics"):
        pc.Data.from_choices([ITEM], tales_dir, shots=1)
    with pytest.raises(pc.ArgumentError, match="max_tokens is 0"):
        pc.Data.from_choices([ITEM], tales_dir, max_tokens=0)
    with pytest.raises(pc.FileError, match=r"gone\.jsonl"):
        pc.Data.from_choices(tmp_path / "gone.jsonl", tales_dir)


def test_data_from_choices_reads_a_path(tales_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "Which one flies?", "choices": ["stone", "bird"], "answer": 1}\n')
    item = pc.ChoiceItem("Which one flies?", ("stone", "bird"), 1)
    wanted = pc.Data.from_choices([item], tales_dir)
    assert pc.Data.from_choices(path, tales_dir).digest == wanted.digest
