# SPDX-License-Identifier: Apache-2.0
"""`export_gguf`: keys, tensors, tokenizer, refusals, and files that appear when they are whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import gguf
import numpy as np
import prunecore as pc
import pytest
from gguf_decoder import GGUFDecoder
from prunecore.export.gguf import export_gguf, read_gguf
from prunecore.export.gguf.layers import layers
from prunecore.export.gguf.operations import Attention, Bias, FeedForward, Linear, operations
from prunecore.export.gguf.vocabulary import read_vocabulary

ZERO = {"attention": "zero", "feed_forward": "zero"}


@pytest.fixture(scope="module")
def text(tales_dir: Path) -> pc.Data:
    with pc.open(tales_dir) as model:
        return pc.Data.from_text(tales_dir / "stories.jsonl", model, 64)[:8]


def stored(directory: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint, read by the package safetensors."""
    from safetensors.torch import load_file

    tensors = load_file(directory / "model.safetensors")
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}


def turned(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows as llama.cpp wants them: of entry i of a head, then that of i + half, then i + 1."""
    size = len(weight) // heads
    order = [h * size + half * (size // 2) + i
             for h in range(heads) for i in range(size // 2) for half in (0, 1)]  # fmt: skip
    return weight[order]


def test_every_key_and_tensor_of_a_llama(tales: pc.Model, tales_dir: Path, tmp_path: Path) -> None:
    mask = pc.Mask.remove(["block.0", "block.7"], 12, {"method": "test"})
    made = export_gguf(tales, tmp_path / "m.gguf", mask, provenance={"by": "a test"})
    decoder = GGUFDecoder(made.path)
    kept = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    assert made.architecture == "llama"
    assert made.notes == []
    expected = {
        "general.architecture": "llama",
        "general.name": "tales-12l",
        "general.file_type": gguf.LlamaFileType.MOSTLY_BF16,
        "llama.block_count": 10,
        "llama.context_length": 1024,
        "llama.embedding_length": 128,
        "llama.feed_forward_length": 352,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 4,
        "llama.attention.key_length": 16,
        "llama.attention.value_length": 16,
        "llama.rope.dimension_count": 16,
        "llama.rope.freq_base": 10000.0,
        "llama.vocab_size": 2048,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "prunecore.version": pc.__version__,
        "prunecore.tensors_sha256": made.tensors_sha256,
    }
    assert {key: decoder.keys[key] for key in expected} == expected
    assert decoder.key("attention.layer_norm_rms_epsilon") == np.float32(1e-5)
    assert json.loads(decoder.keys["prunecore.mask"])["removed"] == mask.removed
    assert json.loads(decoder.keys["prunecore.mask"])["provenance"] == {"method": "test"}
    assert json.loads(decoder.keys["prunecore.provenance"]) == {"by": "a test"}
    assert json.loads(decoder.keys["prunecore.model"]) == tales.provenance
    layers_ = json.loads(decoder.keys["prunecore.layers"])
    assert layers_ == [{"attention": f"attn.{i}", "feed_forward": f"ffn.{i}"} for i in kept]

    source = stored(tales_dir)
    wanted = {
        "token_embd.weight": source["model.embed_tokens.weight"],
        "output_norm.weight": source["model.norm.weight"],
    }
    names = {
        "attn_norm": "input_layernorm",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    for number, block in enumerate(kept):
        for name, original in names.items():
            wanted[f"blk.{number}.{name}.weight"] = source[
                f"model.layers.{block}.{original}.weight"
            ]
        for name, heads in (("q", 8), ("k", 4)):
            weight = source[f"model.layers.{block}.self_attn.{name}_proj.weight"]
            wanted[f"blk.{number}.attn_{name}.weight"] = turned(weight, heads)
    assert decoder.tensors.keys() == wanted.keys()
    for name, values in wanted.items():
        assert decoder.types[name].name == ("F32" if values.ndim == 1 else "BF16")
        np.testing.assert_array_equal(decoder.tensors[name], values, err_msg=name)


def test_tokens_are_those_of_the_tokenizer(
    tales: pc.Model, tales_dir: Path, tmp_path: Path
) -> None:
    made = export_gguf(tales, tmp_path / "m.gguf")
    keys = GGUFDecoder(made.path).keys
    content = json.loads((tales_dir / "tokenizer.json").read_text())["model"]
    by_id = sorted(content["vocab"], key=content["vocab"].__getitem__)
    assert keys["tokenizer.ggml.tokens"] == by_id
    assert keys["tokenizer.ggml.merges"] == [" ".join(pair) for pair in content["merges"]]
    assert keys["tokenizer.ggml.token_type"] == [3, 3, 3] + [1] * 2045
    made = export_gguf(tales, tmp_path / "n.gguf", tokenizer=False)
    assert not made.has_tokenizer
    assert GGUFDecoder(made.path).keys["tokenizer.ggml.model"] == "no_vocab"


def test_layers_that_llama_cpp_would_compute_wrongly_are_written_round() -> None:
    def of(*removed: str, n_blocks: int = 3) -> list[dict[str, str | None]]:
        mask = pc.Mask.remove(removed, n_blocks)
        return [layer.describe() for layer in layers(operations(mask, None))]

    def whole(block: int) -> dict[str, str | None]:
        return {"attention": f"attn.{block}", "feed_forward": f"ffn.{block}"}

    assert of("attn.1") == [whole(0), {"attention": None, "feed_forward": "ffn.1"}, whole(2)]
    assert of("attn.0")[0] == {"attention": "zero", "feed_forward": "ffn.0"}
    assert of("block.0", "attn.1")[0] == {"attention": "zero", "feed_forward": "ffn.1"}
    assert of("ffn.2")[2] == {"attention": "attn.2", "feed_forward": "zero"}
    assert of("block.1", "block.2") == [whole(0)]
    # What is left of two blocks is one layer, if it comes in the right order.
    assert of("ffn.0", "attn.1")[0] == {"attention": "attn.0", "feed_forward": "ffn.1"}
    assert of("block.0", "block.1", "block.2") == [ZERO]


def test_biases_go_where_they_are_computed() -> None:
    one, two = np.ones(2, dtype=np.float32), np.full(2, 2, dtype=np.float32)
    made = layers([Attention(0), Bias(one), Bias(two), FeedForward(1), Bias(two)])
    assert len(made) == 1
    np.testing.assert_array_equal(made[0].attention_bias, [3, 3])
    np.testing.assert_array_equal(made[0].feed_forward_bias, [2, 2])
    # After a matrix there is none: zeros stand between it and the feed-forward.
    made = layers([Attention(0), FeedForward(0), Linear(2), Bias(one), FeedForward(1)])
    assert [layer.describe() for layer in made[1:]] == [
        {"attention": "adapter of attn.1", "feed_forward": "zero"},
        {"attention": None, "feed_forward": "ffn.1"},
    ]
    np.testing.assert_array_equal(made[1].feed_forward_bias, one)
    assert made[2].feed_forward_bias is None
    # Nor before the first layer.
    made = layers([Bias(one), Attention(1)])
    assert made[0].describe() == ZERO
    assert made[1].attention_bias is None
    np.testing.assert_array_equal(made[0].feed_forward_bias, one)
    np.testing.assert_array_equal(one, [1, 1])  # and the caller's vector is as it was


def test_gguf_holds_the_adapters(
    tales: pc.Model, tales_dir: Path, text: pc.Data, tmp_path: Path
) -> None:
    mask = pc.Mask.remove(["attn.0", "ffn.11"], 12)
    with tales.recover(mask, text, "low_rank", 3, ridge=1e-2) as adapters:
        made = export_gguf(tales_dir, tmp_path / "m.gguf", mask, adapters, "auto")
        decoder = GGUFDecoder(made.path)
        assert read_gguf(made.path).adapters_sha256 == adapters.digest
        assert decoder.heads == [8, 0] + [8] * 12
        assert decoder.kv_heads == [0, 0] + [4] * 11 + [0]
        assert decoder.widths == [32] + [352] * 11 + [32, 32]
        product = adapters.get("attn.0", "up").astype(float) @ adapters.get("attn.0", "down")
        np.testing.assert_allclose(
            decoder.tensors["blk.0.attn_output.weight"], product, rtol=1e-5, atol=1e-7
        )
        gain = adapters.get("attn.0", "norm")
        np.testing.assert_array_equal(decoder.tensors["blk.0.attn_norm.weight"], gain)
        bias = adapters.get("attn.0", "bias")
        np.testing.assert_array_equal(decoder.tensors["blk.0.ffn_down.bias"], bias)
        assert not decoder.tensors["blk.0.ffn_down.weight"].any()
        assert decoder.types["blk.0.attn_output.weight"].name == "F32"


def test_what_cannot_be_said_is_refused(
    tales: pc.Model, tales_dir: Path, text: pc.Data, tmp_path: Path
) -> None:
    path = tmp_path / "m.gguf"
    mask = pc.Mask.remove("attn.3", 12)
    raw = tales.recover(mask, text, "linear", input="raw", ridge=1e-2)
    with pytest.raises(pc.UnsupportedError, match=r"attn\.3 reads the residual stream as it is"):
        export_gguf(tales, path, mask, raw)
    with pytest.raises(pc.UnsupportedError, match="keep one attention"):
        export_gguf(tales, path, pc.Mask.remove([f"attn.{i}" for i in range(12)], 12))
    with pytest.raises(pc.ArgumentError, match="removes attn.3, but the one given removes attn.4"):
        export_gguf(tales, path, pc.Mask.remove("attn.4", 12), raw)
    with pytest.raises(pc.ArgumentError, match="unknown dtype 'Q4'"):
        export_gguf(tales, path, mask, dtype="Q4")  # type: ignore[arg-type]
    with pytest.raises(pc.ArgumentError, match="the mask has 6 sublayers"):
        export_gguf(tales, path, pc.Mask.all(3))
    with pytest.raises(pc.ArgumentError, match="provenance cannot be written"):
        export_gguf(tales, path, mask, provenance={"a": object()})
    lent = pc.from_arrays(tales_dir / "config.json", stored(tales_dir))
    with pytest.raises(pc.UnsupportedError, match="did not come from a path"):
        export_gguf(lent, path)
    with pytest.raises(pc.ArgumentError, match="one file"):
        tales.export(path, format="gguf", shard_bytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_files_appear_when_they_are_whole(tales: pc.Model, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    export_gguf(tales, path)
    before = path.read_bytes()
    with pytest.raises(pc.FileError, match="exists already"):
        export_gguf(tales, path)

    def stop(_stage: str, done: int, total: int, _seconds: float) -> bool:
        assert total == 2 + 9 * 11
        return done == 5

    mask = pc.Mask.remove("block.2", 12)
    with pytest.raises(pc.Cancelled):
        export_gguf(tales, path, mask, replace=True, progress=stop)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.gguf"]
    with pytest.raises(pc.FileError, match="cannot be written"):
        export_gguf(tales, path / "m.gguf")
    tales.export(path, mask, format="gguf", replace=True)
    assert read_gguf(path).mask == mask


def test_damaged_gguf_is_found(tales: pc.Model, tmp_path: Path) -> None:
    path = export_gguf(tales, tmp_path / "m.gguf", pc.Mask.remove("ffn.3", 12)).path
    read_gguf(path).check()
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(pc.FormatError, match="another checksum"):
        read_gguf(path).check()
    path.write_bytes(b"no such file")
    with pytest.raises(pc.FormatError, match="not a GGUF file"):
        read_gguf(path)


def test_weights_that_are_no_numbers_are_not_written(tales_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(tales_dir, copy)
    file = copy / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1], content[-2] = 0x7F, 0xC0  # bf16 NaN, in the last tensor
    file.write_bytes(content)
    with pytest.raises(pc.NonFiniteError, match="NaN or infinity"):
        export_gguf(copy, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


def write_tokenizer(directory: Path, content: dict) -> Path:
    """A directory with this tokenizer.json."""
    directory.mkdir(exist_ok=True)
    (directory / "tokenizer.json").write_text(json.dumps(content))
    return directory


def sentencepiece(byte_tokens: int = 256) -> dict:
    """A tokenizer.json as that of Llama 2."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for text in [f"<0x{byte:02X}>" for byte in range(byte_tokens)] + ["\u2581", "a", "b"]:
        vocabulary[text] = len(vocabulary)
    vocabulary |= {"ab": len(vocabulary), "\u2581ab": len(vocabulary) + 1}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": number, "content": text, "special": True, "normalized": False,
             "single_word": False, "lstrip": False, "rstrip": False}
            for number, text in enumerate(("<unk>", "<s>", "</s>"))
        ],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True,
                  "vocab": vocabulary, "merges": ["a b", "\u2581 ab"]},
    }  # fmt: skip


def test_gguf_has_the_bpe_of_sentencepiece(tmp_path: Path) -> None:
    directory = write_tokenizer(tmp_path / "spm", sentencepiece())
    found = read_vocabulary(directory, 270)
    assert found is not None
    assert (found.model, found.adds_space, found.unknown) == ("llama", True, 0)
    assert found.tokens[:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert found.tokens[264] == "[PAD264]"
    kinds = gguf.TokenType
    assert [found.types[i] for i in (0, 1, 3, 260, 264)] == [
        kinds.UNKNOWN, kinds.CONTROL, kinds.BYTE, kinds.NORMAL, kinds.UNUSED
    ]  # fmt: skip
    # The earlier merge has the higher score.
    assert found.scores[262] > found.scores[263] > found.scores[260]
    with pytest.raises(pc.UnsupportedError, match=r"256 tokens of bytes.*tokenizer=False"):
        read_vocabulary(write_tokenizer(tmp_path / "few", sentencepiece(200)), 270)
    with pytest.raises(pc.FormatError, match="embedding has 100 rows"):
        read_vocabulary(directory, 100)


def test_gguf_has_the_bpe_of_gemma(tmp_path: Path) -> None:
    """Spaces are replaced first, so that a split at spaces has nothing to split."""
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    changed = sentencepiece() | {"normalizer": replace, "pre_tokenizer": split}
    found = read_vocabulary(write_tokenizer(tmp_path, changed), 270)
    assert found is not None
    assert (found.model, found.adds_space) == ("llama", False)


@pytest.mark.parametrize("taken_whole", [False, True])
def test_names_of_splits_say_whether_words_are_taken_whole(
    taken_whole: bool, tmp_path: Path
) -> None:
    contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    rest = (
        r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    steps = [
        {"type": "Split", "pattern": {"Regex": contractions + rest}},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
    ]
    changed = sentencepiece() | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    changed["model"] = changed["model"] | {"ignore_merges": taken_whole}
    found = read_vocabulary(write_tokenizer(tmp_path, changed), 270)
    assert found is not None
    assert (found.model, found.split) == ("gpt2", "llama-bpe" if taken_whole else "dbrx")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "neither byte-level"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, "adds a space"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "x+"}},
                {"type": "ByteLevel", "use_regex": False}]}},
            "has no name in llama.cpp",
        ),
        ({"model": {"type": "WordPiece", "vocab": {}}}, "type WordPiece"),
    ],
)  # fmt: skip
def test_tokenizers_without_words_in_gguf(change: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(pc.UnsupportedError, match=words):
        read_vocabulary(write_tokenizer(tmp_path, sentencepiece() | change), 270)


def test_gguf_of_a_model_without_tokenizer_has_none(tales_dir: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tales_dir / name, tmp_path / name)
    made = export_gguf(tmp_path, tmp_path / "m.gguf")
    assert not made.has_tokenizer
    with pytest.raises(pc.FileError, match=r"tokenizer\.json is missing"):
        export_gguf(tmp_path, tmp_path / "n.gguf", tokenizer=True)
