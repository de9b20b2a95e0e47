# SPDX-License-Identifier: Apache-2.0
"""GGUF files of families with shapes of their own, and how their tensors are put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from family_case import VOCABULARY, Case
from family_exports import gguf_as_expected
from family_models import CASES, write_case
from gguf_decoder import GGUFDecoder
from gguf_expected import Refusal, expected
from gguf_family_cases import MORE
from prunecore.export.gguf import export_gguf, read_gguf
from safetensors.torch import load_file

TOKENS = np.random.default_rng(3).integers(0, VOCABULARY, 24)
Opened = Callable[[str], pc.Model]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Opens a checkpoint by the name of its case; it is written once."""
    root = tmp_path_factory.mktemp("gguf-families")
    cases: dict[str, Case] = {case.name: case for case in (*CASES.values(), *MORE)}
    made: dict[str, pc.Model] = {}

    def open_(name: str) -> pc.Model:
        if name not in made:
            write_case(cases[name], root / name)
            made[name] = pc.open(root / name, compute="float32")
        return made[name]

    return open_


def apart(path: Path, model: pc.Model, mask: pc.Mask | None, tokens: np.ndarray = TOKENS) -> float:
    """How far a file is from a model, of the length of its logits."""
    ours = model.logits(pc.Data([tokens]), mask)
    return float(np.linalg.norm(GGUFDecoder(path).logits(tokens) - ours) / np.linalg.norm(ours))


def stored(model: pc.Model) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint, as another package reads them."""
    assert model.directory is not None
    tensors = load_file(model.directory / "model.safetensors")
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", [case.name for case in MORE])
def test_shapes_that_llama_cpp_treats_for_themselves(
    name: str, opened: Opened, tmp_path: Path
) -> None:
    model = opened(name)
    mask = pc.Mask.remove("block.1", model.shape.n_blocks)
    path = tmp_path / "m.gguf"
    # What 46 random layers make of the rounding of float32.
    limit = 2e-3 if model.shape.n_blocks > 40 else 2e-5
    if isinstance(expected(name), Refusal):
        with pytest.raises(pc.UnsupportedError):
            gguf_as_expected(name, model, path, mask)
    else:
        gguf_as_expected(name, model, path, mask)
        assert apart(path, model, mask) < limit
    if name in ("smollm3-usual", "cohere-64", "exaone4-64", "gemma2-46", "gemma3-62"):
        whole = export_gguf(model, tmp_path / "w.gguf", dtype="F32")
        assert apart(whole.path, model, None) < limit


def test_norms_of_gemma_are_stored_as_they_multiply(opened: Opened, tmp_path: Path) -> None:
    model = opened("gemma3")
    tensors = GGUFDecoder(export_gguf(model, tmp_path / "m.gguf", dtype="F32").path).tensors
    source = stored(model)
    for name, place in {
        "output_norm": "norm",
        "blk.2.attn_norm": "layers.2.input_layernorm",
        "blk.2.post_attention_norm": "layers.2.post_attention_layernorm",
        "blk.2.ffn_norm": "layers.2.pre_feedforward_layernorm",
        "blk.2.post_ffw_norm": "layers.2.post_feedforward_layernorm",
    }.items():
        wanted = 1 + source[f"model.{place}.weight"]
        np.testing.assert_allclose(tensors[f"{name}.weight"], wanted, rtol=1e-6)
    # Heads are 12 wide and scaled by 20 ** -0.5, where llama.cpp has 12 ** -0.5.
    wanted = (1 + source["model.layers.2.self_attn.q_norm.weight"]) * (12 / 20) ** 0.5
    np.testing.assert_allclose(tensors["blk.2.attn_q_norm.weight"], wanted, rtol=1e-6)


def test_fused_tensors_are_taken_apart_and_put_together(opened: Opened, tmp_path: Path) -> None:
    neox = opened("neox")
    made = GGUFDecoder(export_gguf(neox, tmp_path / "n.gguf", dtype="F32").path).tensors
    fused = stored(neox)["gpt_neox.layers.0.attention.query_key_value.weight"].reshape(4, 3, 8, 32)
    wanted = fused.transpose(1, 0, 2, 3).reshape(96, 32)
    np.testing.assert_array_equal(made["blk.0.attn_qkv.weight"], wanted)

    phi3 = opened("phi3")
    made = GGUFDecoder(export_gguf(phi3, tmp_path / "p.gguf", dtype="F32").path).tensors
    source = stored(phi3)
    for name, place in {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"}.items():
        wanted = source[f"model.layers.1.{place}.weight"]
        np.testing.assert_array_equal(made[f"blk.1.{name}.weight"], wanted)

    oss = opened("gpt-oss-plain")
    made = GGUFDecoder(export_gguf(oss, tmp_path / "o.gguf", dtype="F32").path).tensors
    both = stored(oss)["model.layers.3.mlp.experts.gate_up_proj"]  # expert x inputs x outputs
    for name, first in {"gate": 0, "up": 1}.items():
        wanted = both[:, :, first::2].transpose(0, 2, 1)
        np.testing.assert_array_equal(made[f"blk.3.ffn_{name}_exps.weight"], wanted)


def test_types_of_experts_and_of_what_chooses_them(opened: Opened, tmp_path: Path) -> None:
    made = export_gguf(opened("granitemoe-shared"), tmp_path / "m.gguf", dtype="BF16")
    types = {name: kind.name for name, kind in GGUFDecoder(made.path).types.items()}
    assert types["blk.0.ffn_gate_inp.weight"] == "F32"
    assert types["blk.0.ffn_down_exps.weight"] == types["blk.0.ffn_up_shexp.weight"] == "BF16"
    assert types["blk.0.attn_norm.weight"] == "F32"
    assert read_gguf(made.path).coarsest_type == "BF16"


@pytest.mark.parametrize("name", ["phi3", "phi3-longrope", "helium", "ernie4_5-biases"])
def test_models_like_llama_lose_single_sublayers(name: str, opened: Opened, tmp_path: Path) -> None:
    model = opened(name)
    mask = pc.Mask.remove(["attn.0", "ffn.1"], model.shape.n_blocks)
    made = export_gguf(model, tmp_path / "m.gguf", mask, dtype="F32")
    assert made.architecture == "deci"
    assert apart(made.path, model, mask) < 2e-5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gemma", r"gemma has no layers without attention .* deci computes silu, and this model"),
        ("granite", r"granite has no layers .* deci does not scale"),
        ("mixtral", r"llama has no layers .* deci has no mixtures of experts"),
        ("cohere", r"command-r has no layers .* deci "),
        ("opt", r"no architecture of its own for OPTForCausalLM"),
    ],
)
def test_others_do_not_and_say_why(name: str, words: str, opened: Opened, tmp_path: Path) -> None:
    mask = pc.Mask.remove("ffn.1", opened(name).shape.n_blocks)
    with pytest.raises(pc.UnsupportedError, match=words + r".*format='hf'"):
        export_gguf(opened(name), tmp_path / "m.gguf", mask)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("granite", ""),
        ("starcoder2", ""),
        ("gpt2", ""),
        ("gemma2", "reads no output biases"),
        ("granitemoe", "reads no output biases"),
    ],
)
def test_biases_are_folded_where_they_are_read(
    name: str, words: str, opened: Opened, tmp_path: Path
) -> None:
    model = opened(name)
    mask = pc.Mask.remove("block.1", model.shape.n_blocks)
    adapters = model.recover(mask, pc.Data([TOKENS, TOKENS[::-1]]), "bias")
    if words:
        with pytest.raises(pc.UnsupportedError, match=words):
            export_gguf(model, tmp_path / "m.gguf", mask, adapters)
        return
    made = export_gguf(model, tmp_path / "m.gguf", mask, adapters, "F32")
    with adapters.attach(model) as recovered:
        assert apart(made.path, recovered, None) < 2e-5


def test_scales_that_the_architecture_lacks_are_in_the_queries(
    opened: Opened, tmp_path: Path
) -> None:
    model = opened("gpt2-inverse-layers")
    made = export_gguf(model, tmp_path / "m.gguf")
    assert apart(made.path, model, None) < 2e-5
    tensors, source = GGUFDecoder(made.path).tensors, stored(model)
    fused = source["transformer.h.2.attn.c_attn.weight"].T.copy()
    fused[:32] /= 3
    np.testing.assert_allclose(tensors["blk.2.attn_qkv.weight"], fused, rtol=1e-6)


def test_what_llama_cpp_rounds_in_gelu_is_allowed_for(opened: Opened, tmp_path: Path) -> None:
    made = {
        name: export_gguf(opened(name), tmp_path / name) for name in ("gemma", "granite", "neox")
    }
    rounds = {name: read_gguf(export.path).rounds_gelu for name, export in made.items()}
    assert rounds == {"gemma": True, "granite": False, "neox": True}
    assert "approximates gelu" in made["neox"].notes[0]
