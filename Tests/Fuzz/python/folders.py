# SPDX-License-Identifier: Apache-2.0
"""Readers of files that lie beside others: of models, exports and adapters. See `readers`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import prunecore as pc
from prunecore.export.exported_files import ExportedDirectory, deci_faults
from prunecore.export.gguf.read import read_gguf
from prunecore.export.gguf.vocabulary import read_vocabulary
from prunecore.generation.generate import configured_tokens
from prunecore.recovery.adapters import JSON_FILE
from prunecore.tensors.stored import StoredTensors

MODEL = Path(__file__).resolve().parents[3] / "examples" / "models" / "tales-12l"
INDEX = b'{"metadata": {"total_size": 16}, "weight_map": {"a": "one.safetensors"}}'
GENERATION = b'{"eos_token_id": [1, 2], "bos_token_id": 0, "pad_token_id": null}'
SPECIAL = b'{"bos_token": {"content": "<s>"}, "eos_token": "a", "add_bos_token": true}'
EXPORT = (
    b'{"format": "prunecore.export", "kind": "hf", "removed": ["attn.1"], "n_blocks": 4, '
    b'"files": [{"name": "config.json", "sha256": "00", "bytes": 2}]}'
)
DECI = (
    b'{"model_type": "nemotron-nas", "architectures": ["DeciLMForCausalLM"], "hidden_size": 4, '
    b'"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 6, '
    b'"num_hidden_layers": 1, "block_configs": [{"attention": {"no_op": true, '
    b'"n_heads_in_group": null, "replace_with_linear": false}, "ffn": {"no_op": false, '
    b'"ffn_mult": 2.625, "intermediate_size": 6}}]}'
)

Row = tuple[Callable[[Path], Any], tuple[bytes, ...], str]


def folder_readers() -> dict[str, Row]:
    """What reads, inputs that it takes, and the name of the file; by the reader's name."""
    return {
        "index": (_index, (INDEX,), "model.safetensors.index.json"),
        "generation": (_generation, (GENERATION,), "generation_config.json"),
        "vocabulary": (_vocabulary, (_byte_level(), _unigram()), "tokenizer.json"),
        "special_tokens": (_special_tokens, (SPECIAL,), "tokenizer_config.json"),
        "export_files": (_export_files, (EXPORT,), "prunecore.json"),
        "deci": (_deci, (DECI,), "config.json"),
        "gguf": (lambda path: read_gguf(path).check(), (_gguf(),), "model.gguf"),
        "adapters": (_adapters, (_saved_adapters()[JSON_FILE],), JSON_FILE),
    }


def _index(path: Path) -> None:
    (path.parent / "one.safetensors").write_bytes(tensors())
    StoredTensors(path.parent)


def _generation(path: Path) -> None:
    model: Any = SimpleNamespace(
        directory=path.parent,
        shape=SimpleNamespace(vocabulary_size=2048),
        _config_text=b'{"eos_token_id": 3}',
    )
    configured_tokens(model, "eos_token_id")


def _vocabulary(path: Path) -> None:
    found = read_vocabulary(path.parent, 300)
    assert found is not None and len(found.tokens) == 300


def _special_tokens(path: Path) -> None:
    (path.parent / "tokenizer.json").write_bytes(_byte_level())
    found = read_vocabulary(path.parent, 300)
    assert found is not None
    found.add_to(gguf.GGUFWriter(None, "llama"), path.parent)


def _export_files(path: Path) -> None:
    (path.parent / "config.json").write_bytes(b"{}")
    list(ExportedDirectory.read(path.parent).damage())


def _deci(path: Path) -> None:
    (path.parent / "model.safetensors").write_bytes(tensors())
    list(deci_faults(path.parent, pc.Mask([0, 1]), StoredTensors(path.parent)))


def _adapters(path: Path) -> None:
    for name, content in _saved_adapters().items():
        if name != JSON_FILE:
            (path.parent / name).write_bytes(content)
    pc.Adapters.load(path.parent).close()


def tensors() -> bytes:
    """A file of one tensor, "a"."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(16)


@cache
def _saved_adapters() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder, pc.open(MODEL) as model:
        data = pc.Data([list(range(1, 33))] * 8)
        made = model.recover(pc.Mask.remove(["attn.3", "ffn.5"], 12), data, "low_rank", rank=2)
        made.save(folder, {"é": 1})
        made.close()
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _gguf() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_block_count(2)
        writer.add_token_list(["a", "b"])
        writer.add_string("prunecore.mask", pc.Mask.remove(["attn.1"], 2).to_json())
        writer.add_string("prunecore.adapters", '{"sha256": "00"}')
        writer.add_string("prunecore.tensors_sha256", "00")
        writer.add_tensor("token_embd.weight", np.ones((2, 32), dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


@cache
def _byte_level() -> bytes:
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocabulary = {"a": 0, "b": 1, "ab": 2}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
             "ignore_merges": False, "vocab": vocabulary, "merges": [["a", "b"]]}  # fmt: skip
    return _tokenizer(model, step, None)


def _unigram() -> bytes:
    step = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.5]],
             "byte_fallback": False}  # fmt: skip
    return _tokenizer(model, step, {"type": "Replace", "pattern": {"String": " "}, "content": "_"})


def _tokenizer(model: Any, step: Any, normalizer: Any) -> bytes:
    special = {"id": 3, "content": "<s>", "single_word": False, "lstrip": False,
               "rstrip": False, "normalized": False, "special": True}  # fmt: skip
    record = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [special],
              "normalizer": normalizer, "pre_tokenizer": step, "post_processor": None,
              "decoder": None, "model": model}  # fmt: skip
    return json.dumps(record).encode()
