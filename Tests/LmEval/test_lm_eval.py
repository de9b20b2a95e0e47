# SPDX-License-Identifier: Apache-2.0
"""`PruneCoreLM` against the harness's class `hf`, on tasks made of the example texts.

Run by `make test-lm-eval`, in a virtual environment of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lm_eval
import prunecore as pc
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from prunecore.integrations.lm_eval import PruneCoreLM

TALES = Path(__file__).resolve().parents[2] / "examples" / "models" / "tales-12l"
MASK = pc.Mask.remove(["attn.4", "ffn.9"], 12)
TASKS = ("tales_choice", "tales_text", "tales_write")

CHOICE = """
task: tales_choice
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{context}}"
doc_to_choice: choices
doc_to_target: answer
target_delimiter: ""
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
TEXT = """
task: tales_text
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
"""
WRITE = """
task: tales_write
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "{{context}}"
doc_to_target: "{{target}}"
generation_kwargs: {until: [".", "\\n"], max_gen_toks: 24, do_sample: false}
metric_list: [{metric: exact_match}]
"""


def texts(kind: str) -> list[str]:
    """The example texts of a kind."""
    lines = (TALES / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> TaskManager:
    """Three tasks of local files."""
    folder = tmp_path_factory.mktemp("tasks")
    stories = texts("stories")
    choice, write = [], []
    for number, story in enumerate(stories[:16]):
        words = story.split(" ")
        context, ending = " ".join(words[:20]), " " + " ".join(words[20:26])
        others = [" " + " ".join(stories[number + k].split(" ")[20:26]) for k in (16, 32, 48)]
        choice.append({"context": context, "choices": [*others, ending], "answer": 3})
        # Letters alone: the same context, one token each.
        letters = {
            "context": context,
            "choices": [" A", " the", " was", " B"],
            "answer": number % 4,
        }
        choice.append(letters)
        write.append({"context": context, "target": ending})
    choice.append({"context": "", "choices": [" Once", "Once upon a time"], "answer": 1})
    # One text is longer than the context of 1024 tokens: it is scored in windows.
    documents = [{"text": text} for text in stories[20:28]] + [{"text": "\n".join(stories[:9])}]
    for yaml, rows in ((CHOICE, choice), (TEXT, documents), (WRITE, write)):
        name = yaml.split()[1]
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (folder / f"{name}.yaml").write_text(yaml.replace("FILE", str(file)), encoding="utf-8")
    return TaskManager(include_path=str(folder), include_defaults=False)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> Iterator[pc.Model]:
    with pc.open(TALES, "float32") as opened:
        yield opened


@pytest.fixture(scope="module")
def adapters(model: pc.Model) -> pc.Adapters:
    data = pc.Data.from_text(TALES / "stories.jsonl", model, 64)[:16]
    return model.recover(MASK, data, "low_rank", 4, ridge=1e-2)


def run(subject: Any, tasks: TaskManager) -> dict[str, Any]:
    """All three tasks, with the answer to every request."""
    found = lm_eval.simple_evaluate(
        subject, tasks=list(TASKS), task_manager=tasks, log_samples=True, bootstrap_iters=0
    )
    assert found is not None
    return found


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Every log-likelihood, every greedy flag, every text and every metric is the same."""
    for task in TASKS:
        mine, others = ours["samples"][task], theirs["samples"][task]
        assert len(mine) == len(others) > 8
        for a, b in zip(mine, others, strict=True):
            for x, y in zip(a["resps"], b["resps"], strict=True):
                if task == "tales_choice":
                    assert float(x[0][0]) == pytest.approx(float(y[0][0]), abs=2e-4)
                    assert str(x[0][1]) == str(y[0][1])
                elif task == "tales_text":
                    first, second = (v[0] if isinstance(v, (list, tuple)) else v for v in (x, y))
                    assert float(first) == pytest.approx(float(second), rel=1e-5)
                else:
                    assert x == y
        for name, value in theirs["results"][task].items():
            if isinstance(value, float):
                assert ours["results"][task][name] == pytest.approx(value, rel=1e-5), name


def test_the_full_model(tasks: TaskManager, model: pc.Model) -> None:
    theirs = run(HFLM(str(TALES), dtype="float32", device="cpu", batch_size=4), tasks)
    found = run(PruneCoreLM(model), tasks)
    compare(found, theirs)
    greedy = [x[0][1] for s in found["samples"]["tales_choice"] for x in s["resps"]]
    assert {str(value) for value in greedy} == {"True", "False"}
    assert 0.2 < found["results"]["tales_choice"]["acc,none"] < 1
    written = [sample["resps"][0][0] for sample in found["samples"]["tales_write"]]
    assert sum(bool(text) for text in written) > 8
    assert all("." not in text for text in written)


def test_a_pruned_model_against_its_export(
    tasks: TaskManager, model: pc.Model, tmp_path: Path
) -> None:
    path = model.export(tmp_path / "out", MASK)
    hf = HFLM(str(path), dtype="float32", device="cpu", batch_size=4, trust_remote_code=True)
    file = tmp_path / "mask.json"
    MASK.save(file)
    found = run(PruneCoreLM(str(TALES), mask=str(file), compute="float32"), tasks)
    compare(found, run(hf, tasks))
    whole = run(PruneCoreLM(model), tasks)["results"]["tales_text"]["bits_per_byte,none"]
    assert found["results"]["tales_text"]["bits_per_byte,none"] > whole + 0.01


def test_a_recovered_model_against_its_export(
    tasks: TaskManager, model: pc.Model, adapters: pc.Adapters, tmp_path: Path
) -> None:
    path = model.export(tmp_path / "out", MASK, adapters)
    hf = HFLM(str(path), dtype="float32", device="cpu", batch_size=4, trust_remote_code=True)
    adapters.save(tmp_path / "adapters")
    subject = PruneCoreLM(str(TALES), adapters=tmp_path / "adapters", compute="float32")
    compare(run(subject, tasks), run(hf, tasks))


def test_contexts_that_are_too_long(tasks: TaskManager, model: pc.Model) -> None:
    hf = HFLM(str(TALES), dtype="float32", device="cpu", batch_size=1, max_length=40)
    compare(run(PruneCoreLM(model, max_length=40), tasks), run(hf, tasks))


def test_the_harness_knows_its_name(tasks: TaskManager) -> None:
    found = lm_eval.simple_evaluate(
        "prunecore",
        model_args={"model": str(TALES), "compute": "float32"},
        tasks=["tales_choice"],
        task_manager=tasks,
        limit=2,
        bootstrap_iters=0,
    )
    assert found is not None
    assert 0 <= found["results"]["tales_choice"]["acc,none"] <= 1


def test_errors(model: pc.Model, adapters: pc.Adapters) -> None:
    with pytest.raises(pc.ArgumentError, match="but the one given removes attn.5"):
        PruneCoreLM(model, pc.Mask.remove("attn.5", 12), adapters)
    with pytest.raises(pc.FileError):
        PruneCoreLM(model, "gone.json")
    with pytest.raises(pc.ArgumentError, match="no room for a prompt in 20"):
        PruneCoreLM(model, max_length=20)._continue(["a"], {"max_gen_toks": 20})
