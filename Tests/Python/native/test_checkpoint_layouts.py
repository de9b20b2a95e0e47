# SPDX-License-Identifier: Apache-2.0
"""Ways in which people have checkpoints: layouts that transformers loads are opened, to the same
losses; what is no checkpoint of a model that is computed is refused in a sentence that says why."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from prunecore._native.architectures import architecture_table

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")
st = pytest.importorskip("safetensors.torch")
names = pytest.importorskip("transformers.models.auto.configuration_auto")

Tensors = dict[str, Any]
IDS = pc.Data([[5, 6, 7, 8, 9, 10], [40, 30, 20]])


@pytest.fixture
def copy(tales_dir: Path, tmp_path: Path) -> Path:
    """A copy of the embedded model, to be changed."""
    return Path(shutil.copytree(tales_dir, tmp_path / "copy"))


def change_config(directory: Path, **members: Any) -> None:
    file = directory / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **members}))


def weights(directory: Path) -> Tensors:
    return st.load_file(directory / "model.safetensors")


def store(directory: Path, tensors: Tensors) -> None:
    st.save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def loss(directory: Path) -> float:
    with pc.open(directory) as model:
        return model.evaluate(IDS).loss


def flat(directory: Path) -> None:
    store(directory, {k.removeprefix("model."): v for k, v in weights(directory).items()})


def head_only(directory: Path) -> None:
    tensors = weights(directory)
    tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")
    store(directory, tensors)


def head_and_embedding(directory: Path) -> None:
    tensors = weights(directory)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    store(directory, tensors)


def more_tensors(directory: Path) -> None:
    tensors = weights(directory)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    tensors["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(128)
    store(directory, tensors)


def in_shards(directory: Path, folder: str = "", unneeded: bool = False) -> None:
    tensors = weights(directory)
    (directory / "model.safetensors").unlink()
    (directory / folder).mkdir(exist_ok=True)
    names = sorted(tensors)
    where = {}
    for part in range(2):
        file = f"{folder}model-{part}.safetensors"
        st.save_file({name: tensors[name] for name in names[part::2]}, directory / file)
        where.update(dict.fromkeys(names[part::2], file))
    if unneeded:
        where["vision.weight"] = "model-vision.safetensors"
        where["model.layers.0.nothing"] = f"{folder}model-0.safetensors"
    index = {"metadata": {}, "weight_map": where}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "names without model.": flat,
    "one matrix under the head's name": head_only,
    "head and embedding": head_and_embedding,
    "tensors that nothing needs": more_tensors,
    "shards": in_shards,
    "shards in a folder": lambda path: in_shards(path, "weights/"),
    "an index of more than is needed": lambda path: in_shards(path, unneeded=True),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_opened_to_the_same_losses(name: str, copy: Path, tales_dir: Path) -> None:
    LAYOUTS[name](copy)
    assert loss(copy) == pytest.approx(loss(tales_dir), rel=1e-12)


@pytest.mark.parametrize("name", [n for n in LAYOUTS if "index" not in n])
def test_transformers_loads_the_same_layouts(name: str, copy: Path) -> None:
    LAYOUTS[name](copy)
    with torch.no_grad():
        model = tf.AutoModelForCausalLM.from_pretrained(copy, dtype=torch.float32).eval()
        wanted = model(torch.tensor([IDS.sequences[0].tolist()])).logits[0].numpy()
    with pc.open(copy, "float32") as opened:
        found = opened.logits(IDS[:1])
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


def test_a_layout_is_exported_as_every_other(copy: Path, tmp_path: Path) -> None:
    flat(copy)
    with pc.open(copy) as model:
        model.export(tmp_path / "out", pc.Mask.remove(["block.3"], 12))
        wanted = model.evaluate(IDS, pc.Mask.remove(["block.3"], 12)).loss
    assert loss(tmp_path / "out") == pytest.approx(wanted, rel=1e-6)


KEYS: list[tuple[str, Any, Any]] = [  # key, a value that is refused, one that changes nothing
    ("is_causal", False, True),
    ("block_configs", [{"attention": {"no_op": True}}], None),
    ("pruned_heads", {"0": [1]}, {}),
    ("quantization", {"bits": 4}, {}),
    ("quantization_config", {"quant_method": "gptq"}, None),
    ("load_in_4bit", True, False),
    ("attn_logit_softcapping", 50.0, None),
    ("logit_scale", 0.5, 1.0),
    ("residual_multiplier", 0.2, 1),
    ("use_bidirectional_attention", True, False),
    ("num_experts", 8, 0),
    ("kv_lora_rank", 4, None),
    ("use_parallel_residual", True, False),
    ("qk_layernorm", True, False),
    ("cross_attention_layers", [3], []),
    ("attention_chunk_size", 8, None),
    ("no_rope_layers", [1, 0], []),
]


@pytest.mark.parametrize(("key", "bad", "neutral"), KEYS)
def test_what_would_change_the_model_is_refused_by_name(
    key: str, bad: Any, neutral: Any, copy: Path, tales_dir: Path
) -> None:
    change_config(copy, **{key: neutral})
    assert loss(copy) == loss(tales_dir)
    change_config(copy, **{key: bad})
    with pytest.raises(pc.UnsupportedError, match=rf"config\.json: {key} "):
        pc.open(copy)


def test_a_bias_that_nothing_asks_for_is_refused_unless_it_is_zero(copy: Path) -> None:
    tensors = weights(copy)
    tensors["model.layers.2.mlp.down_proj.bias"] = torch.ones(128)
    store(copy, tensors)
    with pytest.raises(pc.UnsupportedError, match=r"layers\.2\.mlp\.down_proj\.bias.*no such bias"):
        pc.open(copy)


DROPOUTS = (
    *("attention_dropout", "attn_pdrop", "dropout", "embd_pdrop", "embedding_dropout"),
    *("hidden_dropout", "layerdrop", "resid_pdrop", "residual_dropout"),
)
HARMLESS = {
    **dict.fromkeys(DROPOUTS, "dropout is of training"),
    "output_router_logits": "it adds a loss for training, and no logits",
    "router_aux_loss_coef": "the same",
    "router_jitter_noise": "noise is of training",
    "reorder_and_upcast_attn": "it changes what half precision rounds",
    "pad_token_id": "the embedding of padding, which no sequence has, is not trained",
}
"""What the families' code reads, and why it changes no logits of a sequence without padding."""


OTHER_TASKS = re.compile(
    "Classification|QuestionAnswering|DoubleHeads|SequenceSummary|PreTrainedModel|Vision"
    "|MultiModal|ConditionalGeneration|^Gemma3Model$"
)
"""Classes that compute something else than logits of text."""


def folders() -> list[str]:
    """Where transformers has the code of the families that the library computes."""
    types = [own["model_type"] for own in architecture_table().values() if own["is_computed"]]
    return sorted({names.model_type_to_module_name(own) for own in types})


@pytest.mark.parametrize("family", folders())
def test_attributes_that_transformers_reads_are_all_known(family: str) -> None:
    """What the code of a family reads of its configuration is read, refused or harmless."""
    root = Path(tf.models.__file__).parent
    sources = Path(__file__).parents[3] / "Sources/PruneCore/Checkpoint"
    code = "".join(file.read_text(encoding="utf-8") for file in sources.rglob("*.swift"))
    known = set(re.findall(r'"(\w+)"', code)) | set(HARMLESS)
    tree = ast.parse((root / family / f"modeling_{family}.py").read_text(encoding="utf-8"))
    computing = [own for own in tree.body if not OTHER_TASKS.search(getattr(own, "name", ""))]
    attributes = {
        node.attr
        for own in computing
        for node in ast.walk(own)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("config")
    }
    assert "num_hidden_layers" in attributes
    assert {name for name in attributes - known if not name.startswith("_")} == set()


def pickled(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def renamed(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / "model.safetensors").rename(directory / name) and None


def pointer(name: str) -> Callable[[Path], None]:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n"
    return lambda directory: (directory / name).write_text(text) and None


def parts(suffix: str) -> Callable[[Path], None]:
    def quantise(directory: Path) -> None:
        tensors = weights(directory)
        tensors["model.layers.0.mlp.up_proj" + suffix] = torch.ones(4)
        store(directory, tensors)

    return quantise


def beside(directory: Path) -> None:
    (directory / "quantize_config.json").write_text('{"bits": 4}')


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickled": (pickled, r"pytorch_model\.bin.*save_pretrained"),
    "gguf": (renamed("model-q4.gguf"), r"model-q4\.gguf: a model in a GGUF file"),
    "consolidated": (renamed("consolidated.safetensors"), "consolidated"),
    "tensorflow": (renamed("tf_model.h5"), "TensorFlow"),
    "peft": (renamed("adapter_model.safetensors"), "adapter of PEFT"),
    "pointer": (pointer("model.safetensors"), r"model\.safetensors.*git lfs pull"),
    "pointer to config": (pointer("config.json"), r"config\.json.*git lfs pull"),
    "gptq": (parts(".qweight"), r"quantized.*qweight.*GPTQ"),
    "fp8": (parts(".weight_scale_inv"), "quantized.*FP8"),
    "bitsandbytes": (parts(".weight.absmax"), "quantized.*bitsandbytes"),
    "hqq": (parts(".W_q"), "quantized.*HQQ"),
    "beside": (beside, r"quantized, as quantize_config\.json"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_checkpoint_of_ours_is_named(name: str, copy: Path) -> None:
    make, says = REFUSED[name]
    make(copy)
    with pytest.raises(pc.Error, match=says) as caught:
        pc.open(copy)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_converted_by_the_command_that_is_named(copy: Path) -> None:

    wanted = loss(copy)
    torch.save(weights(copy), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(pc.FileError) as caught:
        pc.open(copy)
    command = re.search(r"To convert them: (.*)", str(caught.value))
    assert command
    words = shlex.split(command.group(1))
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert loss(Path(f"{copy}-safetensors")) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("owner/some-model", r"hub.*hf download owner/some-model"),
        ("gpt2-of-nobody", r"hub.*hf download gpt2-of-nobody"),
        ("https://hub.example/owner/model", "an address is not opened"),
        ("model.gguf", "GGUF"),
        ("model.safetensors", "not a directory"),
        ("config.json", "directory that holds config.json"),
    ],
)
def test_what_is_no_directory_is_named(
    path: str, says: str, tales_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    for name in ("model.safetensors", "config.json"):
        shutil.copy(tales_dir / name, tmp_path)
    with pytest.raises(pc.Error, match=says):
        pc.open(path)


def test_architectures_that_pytorch_runs_are_sent_there(copy: Path) -> None:
    change_config(copy, architectures=["BloomForCausalLM"], model_type="bloom")
    with pytest.raises(pc.UnsupportedError, match=r"prunecore\.torch\.wrap"):
        pc.open(copy)
    change_config(copy, architectures=["PruneCoreLlamaForCausalLM"], model_type="prunecore_llama")
    with pytest.raises(pc.UnsupportedError, match="PruneCoreLlamaForCausalLM"):
        pc.open(copy)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/../b", "a//b", "."])
def test_shards_stay_inside_the_directory(name: str, copy: Path) -> None:
    in_shards(copy)
    index = copy / "model.safetensors.index.json"
    listed = json.loads(index.read_text())
    listed["weight_map"]["model.norm.weight"] = name
    index.write_text(json.dumps(listed))
    with pytest.raises(pc.FormatError, match="not the name of a file in this directory"):
        pc.open(copy)


def test_a_shard_that_is_needed_and_missing_is_named(copy: Path) -> None:
    in_shards(copy)
    os.unlink(copy / "model-1.safetensors")
    with pytest.raises(pc.FileError, match=r"model-1\.safetensors: No such file"):
        pc.open(copy)


def test_sequences_beyond_the_context_are_warned_of(copy: Path) -> None:
    change_config(copy, max_position_embeddings=8)
    short, long = pc.Data([list(range(3, 11))]), pc.Data([list(range(3, 12))])
    with pc.open(copy) as model:
        assert model.evaluate(short).loss > 0  # a warning would be an error here
        for call in (model.evaluate, model.score, model.logits):
            with pytest.warns(pc.ContextWarning, match="9 tokens.*context of 8"):
                call(long)
        with pytest.warns(pc.ContextWarning, match="12 tokens"):
            model.generate(short, max_new_tokens=4)
