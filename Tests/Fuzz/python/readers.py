# SPDX-License-Identifier: Apache-2.0
"""The readers that are fuzzed, each with inputs that it takes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
from folders import folder_readers, tensors
from prunecore._native.run_file import RunFile
from prunecore.data.documents import documents
from prunecore.data.text import load_tokenizer, load_tokens
from prunecore.export.exported_files import ExportedDirectory
from prunecore.masks.notations import NOTATIONS
from prunecore.search.state import SearchState, SearchStep
from prunecore.shapley.players import granularity_players
from prunecore.shapley.scores import read_scores
from prunecore.shapley.state import GameState
from prunecore.tensors.stored import StoredTensors, read_config
from vocabularies import read_tokenizer, vocabularies

MERGEKIT = (
    "slices:\n- sources:\n  - model: a/b\n    layer_range: [0, 2]\n- sources:\n  - model: a/b\n"
    "    layer_range: [3, 4]\nmerge_method: passthrough\ndtype: bfloat16\n"
)
BLOCKPRUNER = '{"1": [["mha", 2]], "2": [["mha", 2], ["mlp", 3]]}'
PER_LAYER = '{"num_hidden_layers": 4, "per_layer_config": {"01": {"skip": ["attention"]}}}'


@dataclass(frozen=True)
class Reader:
    """A reader, and what it takes.

    Attributes
    ----------
    read : callable
        Given the file that holds the input. It may raise `prunecore.Error`, and nothing else.
    seeds : tuple of bytes
        Inputs that it takes.
    name : str
        Of the file.
    """

    read: Callable[[Path], Any]
    seeds: tuple[bytes, ...]
    name: str = "input"


@cache
def readers() -> dict[str, Reader]:
    """All of them, by name."""
    mask = pc.Mask.remove(["attn.1", "block.2"], 4, {"method": "é", "seed": 3})
    found = {
        "mask": Reader(pc.Mask.load, (mask.to_json().encode(),)),
        "text": Reader(lambda path: list(documents(path)), _texts(), "input.jsonl"),
        "json_text": Reader(lambda path: list(documents(path)), _texts(), "input.json"),
        "plain_text": Reader(lambda path: list(documents(path)), _texts(), "input.txt"),
        "choices": Reader(pc.ChoiceSet.load, _questions(), "input.jsonl"),
        "choices_json": Reader(
            pc.ChoiceSet.load, (b'[{"query": "q", "choices": ["a", "b"], "gold": 1}]',), "i.json"
        ),
        "mmlu": Reader(pc.ChoiceSet.load, (b'"Which, then?",a,b,"c ""d""",C\n',), "x_test.csv"),
        "tokens": Reader(load_tokens, _arrays(), "input.npy"),
        "tokenizer": Reader(load_tokenizer, (_tokenizer(),), "tokenizer.json"),
        "gguf_tokenizer": Reader(read_tokenizer, vocabularies(), "input.gguf"),
        "scores": Reader(read_scores, tuple(_saved(value) for value in _scores())),
        "search": Reader(pc.SearchResult.load, (_saved(_search()),)),
        "search_study": Reader(pc.SearchStudy.load, (_saved(_study()),)),
        "recovery_study": Reader(pc.RecoveryStudy.load, (_saved(_recovery()),)),
        "checkpoint": Reader(
            lambda path: RunFile(path, {"a": 1}).load(),
            (
                b'{"format": "prunecore.checkpoint", "version": 1, "run": {"a": 1}, "bytes": 2, '
                b'"notes": {}}\nab',
            ),
        ),
        "export": Reader(
            lambda path: ExportedDirectory.read(path.parent),
            (b'{"format": "prunecore.export", "kind": "deci", "removed": [], "n_blocks": 4}',),
            "prunecore.json",
        ),
        "config": Reader(
            lambda path: read_config(path.parent), (b'{"model_type": "llama"}',), "config.json"
        ),
        "tensors": Reader(
            lambda path: StoredTensors(path.parent), (tensors(),), "model.safetensors"
        ),
    }
    found |= {name: Reader(*row) for name, row in folder_readers().items()}
    texts = {
        name: mask.write(name)
        for name in NOTATIONS
        if name not in ("prunecore", "mergekit", "prune_layers")
    }
    texts |= {"mergekit": MERGEKIT, "prune_layers": "1,3\n"}
    other = {"blockpruner": BLOCKPRUNER, "per_layer_config": PER_LAYER}
    for name, text in texts.items():
        seeds = tuple(each.encode() for each in (text, other.get(name, text)))
        found[f"notation_{name}"] = Reader(
            lambda path, name=name: pc.Mask.read(path, name, 4),  # type: ignore[misc]
            seeds,
        )
    found["notation"] = Reader(
        lambda path: pc.Mask.read(path, n_blocks=4),
        tuple(text.encode() for text in (*texts.values(), *other.values(), mask.to_json())),
    )
    return found


def _saved(value: Any) -> bytes:
    return json.dumps(value.to_dict()).encode()


def _texts() -> tuple[bytes, ...]:
    lines = b'{"text": "a b", "url": "u"}\n{"text": "\\ud83d\\ude00 c"}\n'
    return lines, b'[{"text": "a"}, "b"]', b'{"text": ["a", "b"]}', b"\xef\xbb\xbfplain\r\ntext"


def _questions() -> tuple[bytes, ...]:
    first = b'{"question": "q", "choices": ["a", "b"], "answer": 1, "subject": "s"}\n'
    return first, b'{"question": "q", "choices": ["a", "b"], "answer": "B"}\n'


def _arrays() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npy"
        made = []
        for array in (np.arange(6, dtype=np.int32), np.arange(6).reshape(2, 3)):
            np.save(path, array)
            made.append(path.read_bytes())
    return tuple(made)


def _tokenizer() -> bytes:
    model = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "<unk>": 2}, "unk_token": "<unk>"}
    special = {"id": 2, "content": "<unk>", "single_word": False, "lstrip": False,
               "rstrip": False, "normalized": False, "special": True}  # fmt: skip
    record = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [special],
              "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
              "decoder": None, "model": model}  # fmt: skip
    return json.dumps(record).encode()


def _scores() -> tuple[Any, ...]:
    players = granularity_players("block", 3)
    state = GameState(True, 3, 8, 8, 0, 0.0, 0.5, 10, 20, "exact")
    added = pc.ShapleyScores(
        [1.0, 2.0, 3.0], [0.1, 0.1, 0.2], players, 3, state, interactions=np.ones((3, 3))
    )
    return pc.Scores({"cosine": [1.0, 2.0, 3.0]}, "block", 3, provenance={"a": "b"}), added


def _search() -> Any:
    mask = pc.Mask.remove("attn.1", 3)
    step = SearchStep(mask, "attn.1", 1, 0.5, 100, 200, 300, 2)
    return pc.SearchResult(
        mask, (step,), SearchState("greedy", True, True, 3, 2, 2, 1, 1, 0.1, 0.5, 9, 9), {"a": 1}
    )


def _study() -> Any:
    point = pc.SearchPoint("block", 1, "greedy", ("attn.1", "ffn.1"), 1.0, 2.0, 3, 4, 5, 6.0)
    return pc.SearchStudy(1.0, 2.0, (point,), {})


def _recovery() -> Any:
    point = pc.RecoveryPoint("block", 1, ("attn.1",), "pruned", 2.0, 0.5, 3, 4, 5.0)
    return pc.RecoveryStudy(1.0, (point,), {})
