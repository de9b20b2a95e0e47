# SPDX-License-Identifier: Apache-2.0
"""GGUF files as models: of every family, in every type, pruned, exported, and opened again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
import torch
from family_case import VOCABULARY
from family_models import CASES, write_case
from gguf_blocks import BLOCKS, TYPES, stored, write_blocks
from gguf_blocks import VOCABULARY as SMALL
from gguf_cases import CASES as PRUNED
from gguf_cases import Case as PrunedCase
from gguf_decoder import GGUFDecoder
from gguf_expected import Refusal, expected
from gguf_family_cases import MORE
from prunecore.export.gguf import export_gguf
from random_models import write_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS = np.random.default_rng(3).integers(0, VOCABULARY, 24)
# The engine does not compute these, or llama.cpp not the whole of them.
LEFT_OUT = ("hunyuan", "hunyuan-alpha", "apertus", "qwen2-moe-window")
FAMILIES = [
    case
    for case in (*CASES.values(), *MORE)
    if case.name not in LEFT_OUT and not isinstance(expected(case.name), Refusal)
]
# Each stores something otherwise in transformers: fused, by heads, transposed, by experts, norms.
CONVERTED = (
    *("llama-llama3", "gemma3", "neox", "gpt2", "phi3-longrope", "gpt-oss-plain", "qwen2-moe"),
    *("granitemoe-shared", "stablelm-parallel-qk-norm", "olmo3", "glm4", "nemotron-filled"),
    *("cohere2", "mixtral", "llama-yarn"),
)


def apart(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def theirs(path: Path, tokens: pc.Data) -> np.ndarray:
    """Logits of the first sequence, from transformers."""
    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        logits: np.ndarray = model(torch.tensor(tokens.sequences[0])[None].long()).logits[0].numpy()
    return logits


@pytest.mark.parametrize("name", [case.name for case in FAMILIES])
def test_what_is_exported_opens_as_the_same_model(name: str, tmp_path: Path) -> None:
    case = next(case for case in FAMILIES if case.name == name)
    write_case(case, tmp_path / "model")
    model = pc.open(tmp_path / "model", compute="float32")
    made = export_gguf(model, tmp_path / "model.gguf", dtype="F32")
    opened = pc.open(made.path, compute="float32")
    tokens = pc.Data([TOKENS[: opened.shape.context_length]])
    # 46 random layers make something of the rounding of float32.
    limit = 1e-4 if model.shape.n_blocks > 40 else 5e-6
    assert apart(opened.logits(tokens), model.logits(tokens)) < limit
    if name not in CONVERTED:
        return
    whole = opened.export(tmp_path / "hf", format="hf_plain")
    assert apart(opened.logits(tokens), theirs(whole, tokens)) < 5e-6
    mask = pc.Mask.remove(["attn.0", "ffn.1"], model.shape.n_blocks)
    zeroed = opened.export(tmp_path / "zeroed", mask, format="zeroed")
    assert apart(opened.logits(tokens, mask), theirs(zeroed, tokens)) < 5e-6
    mask = pc.Mask.remove("block.1", model.shape.n_blocks)
    opened.export(tmp_path / "smaller", mask, format="hf_plain")
    smaller = pc.open(tmp_path / "smaller", compute="float32")
    assert apart(smaller.logits(tokens), opened.logits(tokens, mask)) < 5e-6


@pytest.mark.parametrize("name", TYPES)
def test_blocks_are_computed_with_and_kept_as_they_are(name: str, tmp_path: Path) -> None:
    path = write_blocks(tmp_path / "whole.gguf", name)
    model = pc.open(path, compute="float32")
    assert model.shape.element_type == name.lower()
    tokens = np.random.default_rng(5).integers(0, SMALL, 40)
    data = pc.Data([tokens])
    # An independent decoder, with the numbers that the package gguf makes of the blocks.
    assert apart(model.logits(data), GGUFDecoder(path).logits(tokens)) < 1e-5
    mask = pc.Mask.remove("block.1", BLOCKS)
    smaller = export_gguf(model, tmp_path / "smaller.gguf", mask).path
    before, after = stored(path), stored(smaller)
    for tensor, found in after.items():
        # Block 2 has become block 1.
        assert before[re.sub(r"^blk\.1\.", "blk.2.", tensor)] == found
    opened = pc.open(smaller, compute="float32")
    np.testing.assert_array_equal(opened.logits(data), model.logits(data, mask))
    assert opened.shape.parameter_bytes == model.cost(mask).parameter_bytes


def test_single_sublayers_go_without_new_quantising(tmp_path: Path) -> None:
    path = write_blocks(tmp_path / "whole.gguf", "Q4_K")
    model = pc.open(path, compute="float32")
    data = pc.Data([np.arange(40) % SMALL])
    for names in (["attn.1"], ["ffn.0", "attn.2"], ["attn.0"]):
        mask = pc.Mask.remove(names, BLOCKS)
        made = export_gguf(model, tmp_path / "pruned.gguf", mask, replace=True)
        assert made.architecture == "deci"
        before, after = stored(path), stored(made.path)
        assert (
            sum(found == before.get(tensor) for tensor, found in after.items()) >= len(before) - 12
        )
        opened = pc.open(made.path, compute="float32")
        assert opened.mask.removed == names
        np.testing.assert_array_equal(opened.logits(data), model.logits(data, mask))
        # And once more.
        further = pc.Mask.remove([*names, "ffn.1"], BLOCKS)
        again = export_gguf(opened, tmp_path / "again.gguf", further, replace=True)
        np.testing.assert_array_equal(
            pc.open(again.path, compute="float32").logits(data), model.logits(data, further)
        )


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> pc.Model:
    directory = tmp_path_factory.mktemp("llama")
    write_checkpoint("llama-llama3-float32", directory)
    return pc.open(directory, compute="float32")


@pytest.mark.parametrize("case", PRUNED, ids=lambda case: case.name)
def test_what_a_pruned_file_lacks_is_no_part_of_the_model(
    case: PrunedCase, llama: pc.Model, tmp_path: Path
) -> None:
    n_blocks, vocabulary = llama.shape.n_blocks, llama.shape.vocabulary_size
    mask = pc.Mask.remove(case.names(n_blocks), n_blocks)
    rng = np.random.default_rng(2)
    data = pc.Data([rng.integers(0, vocabulary, 30) for _ in range(4)])
    options = {"rank": 4} if case.adapters == "low_rank" else {}
    adapters = None
    if case.adapters:
        adapters = llama.recover(mask, data, kind=case.adapters, ridge=0.1, **options)
    path = export_gguf(llama, tmp_path / "m.gguf", mask, adapters, dtype="F32").path
    opened = pc.open(path, compute="float32")
    pruned = llama if adapters is None else adapters.attach(llama)
    wanted = pruned.logits(data, None if adapters else mask)
    assert apart(opened.logits(data), wanted) < 5e-6
    # The same model in another format, adapters included.
    opened.export(tmp_path / "hf")
    again = pc.open(tmp_path / "hf", compute="float32")
    assert apart(again.logits(data), wanted) < 5e-6
    if adapters is None:
        opened.export(tmp_path / "zeroed", format="zeroed")
        whole = pc.open(tmp_path / "zeroed", compute="float32")
        assert whole.shape.absent == () and apart(whole.logits(data), wanted) < 5e-6


def test_files_are_written_in_the_type_that_is_asked_for(tmp_path: Path) -> None:
    model = pc.open(write_blocks(tmp_path / "m.gguf", "Q5_K"), compute="float32")
    data = pc.Data([np.arange(30) % SMALL])
    for name, kind, limit in (
        ("bfloat16", "bf16", 1e-2), ("float16", "fp16", 1e-3), ("float32", "fp32", 1e-6),
    ):  # fmt: skip
        model.export(tmp_path / name, dequantised=name)  # type: ignore[arg-type]
        opened = pc.open(tmp_path / name, compute="float32")
        assert opened.shape.element_type == kind
        assert apart(opened.logits(data), model.logits(data)) < limit
    with pytest.raises(pc.ArgumentError, match="dequantised"):
        model.export(tmp_path / "none", dequantised="q4_k")  # type: ignore[arg-type]


def test_exports_take_the_tokenizer_along(repository_root: Path, tmp_path: Path) -> None:
    source = repository_root / "examples" / "models" / "tales-12l"
    made = export_gguf(source, tmp_path / "tales.gguf")
    model = pc.open(made.path)
    model.export(tmp_path / "hf", pc.Mask.remove("block.3", model.shape.n_blocks))
    text = "Once upon a time there were 3 little dogs."
    # Some programs keep files under names that do not say what they are.
    (tmp_path / "sha256-0123").symlink_to(made.path)
    nameless = pc.open(tmp_path / "sha256-0123")
    assert nameless.tokenizer.encode(text).ids == model.tokenizer.encode(text).ids
    assert model.tokenizer.encode(text).ids == pc.open(source).tokenizer.encode(text).ids
    theirs = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert theirs(text)["input_ids"] == AutoTokenizer.from_pretrained(source)(text)["input_ids"]
    assert model.generate([text], max_new_tokens=4, temperature=0).texts
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["num_hidden_layers"] == model.shape.n_blocks - 1


def test_splits_are_one_model(tmp_path: Path) -> None:
    import gguf

    whole = write_blocks(tmp_path / "whole.gguf", "Q4_0")
    reader = gguf.GGUFReader(whole)
    middle = len(reader.tensors) // 2
    for number, tensors in enumerate((reader.tensors[:middle], reader.tensors[middle:])):
        part = tmp_path / f"m-{number + 1:05}-of-00002.gguf"
        writer = gguf.GGUFWriter(part, "llama")
        if number == 0:
            for name, field in reader.fields.items():
                if name.startswith("llama."):
                    writer.add_key_value(name, field.contents(), field.types[0])
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in tensors:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    data = pc.Data([np.arange(20)])
    model = pc.open(tmp_path / "m-00001-of-00002.gguf")
    np.testing.assert_array_equal(model.logits(data), pc.open(whole).logits(data))
    made = export_gguf(model, tmp_path / "joined.gguf")
    assert stored(made.path) == stored(whole)
    with pytest.raises(pc.FormatError, match="open the first"):
        pc.open(tmp_path / "m-00002-of-00002.gguf")
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(pc.FileError, match="m-00002-of-00002"):
        pc.open(tmp_path / "m-00001-of-00002.gguf")
