# SPDX-License-Identifier: Apache-2.0
"""Models over the weights of PyTorch models: as from the saved model, borrowed, and seen anew."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from prunecore._native.library import ffi, lib

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from random_models import CHECKPOINTS, VOCABULARY, random_sequences, randomise  # noqa: E402

NAMES = (
    "llama-llama3-float32",
    "llama-llama3-float16",
    "llama-biases-bfloat16",
    "mistral-window-float32",
    "qwen2-biases-bfloat16",  # head and embedding are one
    "qwen3-layer-types-float32",
)
MASK = pc.Mask.remove(["attn.1", "ffn.2"], 4)


def made(name: str) -> Any:
    """The random model of that name, in PyTorch."""
    variant, storage = CHECKPOINTS[name]
    model = transformers.AutoModelForCausalLM.from_config(variant.config())
    randomise(model)
    return model.to(getattr(torch, storage)).eval()


@pytest.fixture
def data() -> pc.Data:
    return pc.Data(random_sequences(VOCABULARY, (1, 37, 64, 5)))


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_from_torch_computes_what_the_saved_model_does(
    name: str, compute: Any, data: pc.Data, tmp_path: Path
) -> None:
    if compute == "bfloat16" and not pc.runtime_info().bf16_kernels:
        pytest.skip("this CPU has no instructions for bfloat16")
    module = made(name)
    module.save_pretrained(tmp_path)
    with pc.open(tmp_path, compute) as opened, pc.from_torch(module, compute=compute) as model:
        assert model.shape == opened.shape and model.sublayers == opened.sublayers
        assert model.directory is None and model.provenance["name"] == type(module).__name__
        for mask in (None, pc.Mask.remove(["attn.0", "ffn.2"], model.shape.n_blocks)):
            np.testing.assert_array_equal(model.logits(data, mask), opened.logits(data, mask))
        ours, theirs = (m.score(data, "all") for m in (model, opened))
        for metric in ours.metrics:
            np.testing.assert_array_equal(ours[metric], theirs[metric])
        played = [m.shapley(data, granularity="block", seed=4) for m in (model, opened)]
        np.testing.assert_array_equal(played[0].values, played[1].values)
        if compute == "float32" and module.dtype == torch.float32:
            with torch.no_grad():
                wanted = module(torch.from_numpy(data.sequences[1].astype(np.int64))[None]).logits[
                    0
                ]
            got = model.logits(data)[1:38]
            np.testing.assert_allclose(got, wanted.numpy(), atol=2e-4 * abs(got).max())


@pytest.mark.parametrize("name", NAMES[::3])
def test_from_torch_makes_the_adapters_of_the_saved_model(
    name: str, data: pc.Data, tmp_path: Path
) -> None:
    module = made(name)
    module.save_pretrained(tmp_path)
    options: dict[str, Any] = {"kind": "low_rank", "rank": 4}
    with pc.open(tmp_path) as opened, pc.from_torch(module) as model:
        ours, theirs = (m.recover(MASK, data, **options) for m in (model, opened))
        for sublayer in (2, 5):
            found, expected = ours.arrays(sublayer), theirs.arrays(sublayer)
            assert {"bias", "down", "up"} <= found.keys() == expected.keys()
            for part in found:
                np.testing.assert_array_equal(found[part], expected[part])
        with ours.attach(model) as recovered, theirs.attach(opened) as wanted:
            assert recovered.evaluate(data).loss == wanted.evaluate(data).loss
            assert recovered.directory is None
            assert repr(recovered) == f"RecoveredModel('{type(module).__name__}', 4 blocks)"


def test_from_torch_sees_changed_weights(data: pc.Data) -> None:
    module = made("llama-llama3-float32")
    model = pc.from_torch(module)
    losses = {model.evaluate(data).loss}
    for name, parameter in module.named_parameters():
        with torch.no_grad():
            parameter.mul_(1.25)
        found = model.evaluate(data).loss
        assert found not in losses, name
        losses.add(found)
    with pc.from_torch(module) as fresh:
        np.testing.assert_array_equal(fresh.logits(data), model.logits(data))
    # Weights that others took the place of are not followed, but stay.
    before = model.evaluate(data).loss
    module.to(torch.bfloat16)
    gc.collect()
    assert model.evaluate(data).loss == before


def test_the_module_is_kept_as_long_as_it_is_used(data: pc.Data) -> None:
    module = made("qwen2-biases-bfloat16")
    watched = weakref.ref(module)
    model = pc.from_torch(module)
    wanted = model.evaluate(data).loss
    del module
    gc.collect()
    assert watched() is not None and model.evaluate(data).loss == wanted
    adapters = model.recover(MASK, data, kind="bias")
    recovered = adapters.attach(model)
    model.close()
    gc.collect()
    assert watched() is not None and recovered.evaluate(data).loss > 0
    recovered.close()
    gc.collect()
    assert watched() is None


def test_the_last_reference_frees_it() -> None:
    module = made("llama-llama3-float32")
    watched = weakref.ref(module)
    model = pc.from_torch(module)
    del module, model
    gc.collect()
    assert watched() is None


def test_generates_as_the_module(data: pc.Data) -> None:
    module = made("llama-llama3-float32")
    module.generation_config.eos_token_id = None
    prompt = data.sequences[1][:9].astype(np.int64)
    with pc.from_torch(module) as model:
        got = model.generate([prompt.tolist()], max_new_tokens=12, temperature=0).tokens[0]
        wanted = module.generate(
            torch.from_numpy(prompt)[None], max_new_tokens=12, do_sample=False, pad_token_id=0
        )[0, 9:]
        np.testing.assert_array_equal(got, wanted.numpy())
    module.generation_config.eos_token_id = int(got[5])
    with pc.from_torch(module) as model:
        ended = model.generate([prompt.tolist()], max_new_tokens=12, temperature=0)
        assert ended.tokens[0][-1] == got[5] and len(ended.tokens[0]) <= 6


def test_from_torch_refuses_what_it_cannot_read() -> None:
    bloom = transformers.BloomForCausalLM(
        transformers.BloomConfig(n_layer=1, hidden_size=16, n_head=2, vocab_size=32)
    )
    with pytest.raises(pc.UnsupportedError, match=r"BloomForCausalLM.*prunecore\.torch\.wrap"):
        pc.from_torch(bloom)
    with torch.device("meta"):
        nowhere = transformers.LlamaForCausalLM(CHECKPOINTS["llama-llama3-float32"][0].config())
    with pytest.raises(pc.UnsupportedError, match=r"device 'meta'.*prunecore\.torch\.wrap"):
        pc.from_torch(nowhere)
    with pytest.raises(pc.UnsupportedError, match=r"float64.*prunecore\.torch\.wrap"):
        pc.from_torch(made("llama-llama3-float32").double())
    shorter = made("llama-llama3-float32")
    del shorter.model.layers[3]
    with pytest.raises(pc.FormatError, match=r"model\.layers\.3.*missing.*prunecore\.torch\.wrap"):
        pc.from_torch(shorter)
    for thing in (torch.nn.Linear(2, 2), "a model"):
        with pytest.raises(pc.ArgumentError, match="transformers"):
            pc.from_torch(thing)


def test_from_torch_copies_no_weight() -> None:
    """Over a model of 1 GB, making and using a model takes next to nothing."""
    script = textwrap.dedent(
        """
        import gc, numpy as np, torch, transformers
        import prunecore as pc

        def resident(which):
            with open("/proc/self/status") as lines:
                return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024

        config = transformers.LlamaConfig(
            vocab_size=8192, hidden_size=2048, intermediate_size=5632, num_hidden_layers=10,
            num_attention_heads=16, num_key_value_heads=16, tie_word_embeddings=True)
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("meta"):
            module = transformers.LlamaForCausalLM(config)
        module.to_empty(device="cpu")
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(0.01)
        module.tie_weights()
        size = sum(p.numel() * p.element_size() for p in module.parameters()) / 2**20
        data = pc.Data([np.arange(1, 9)])
        gc.collect()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak begins anew
        before = resident("VmRSS")
        model = pc.from_torch(module)
        made = resident("VmRSS")
        assert np.isfinite(model.evaluate(data).loss)
        print(size, made - before, resident("VmRSS") - before, resident("VmHWM") - before)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    size, made, used, peak = map(float, done.stdout.split())
    assert size > 1000
    assert max(made, used, peak) < 50, (
        f"{made:.1f} MB to make, {used:.1f} in use, {peak:.1f} at most"
    )


class Memory(np.ndarray):
    """Memory of NumPy, whose end can be watched, under a tensor of PyTorch."""


def test_dlpack_of_pytorch_in_c(data: pc.Data, tmp_path: Path) -> None:
    """What PyTorch lays out is what prune_model_from_dlpack reads, and gives back once."""
    name = b"dltensor_versioned"
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    rename = ctypes.pythonapi.PyCapsule_SetName
    rename.argtypes = [ctypes.py_object, ctypes.c_char_p]
    module = made("qwen2-biases-bfloat16")
    module.save_pretrained(tmp_path)
    state = module.state_dict()
    freed = []
    capsules = []
    for held in state.values():
        memory = held.view(torch.int16).numpy().copy().view(Memory)
        weakref.finalize(memory, freed.append, 1)
        capsules.append(
            torch.from_numpy(memory).view(torch.bfloat16).__dlpack__(max_version=(1, 0))
        )
    del memory
    names = [ffi.new("char[]", key.encode()) for key in state]
    pointers = [
        ffi.cast("struct DLManagedTensorVersioned *", pointer_of(c, name)) for c in capsules
    ]
    out = ffi.new("prune_model **")
    config = (tmp_path / "config.json").read_bytes()
    status = lib.prune_model_from_dlpack(
        config,
        ffi.new("char *[]", names),
        ffi.new("struct DLManagedTensorVersioned *[]", pointers),
        len(names),
        ffi.NULL,
        out,
    )
    assert status == lib.PRUNE_OK, ffi.string(lib.prune_last_error())
    used = b"used_dltensor_versioned"
    for capsule in capsules:
        assert rename(capsule, used) == 0
    del capsules
    gc.collect()
    assert not freed
    logits = np.empty((data.n_tokens, VOCABULARY), np.float32)
    with pc.open(tmp_path) as opened:
        wanted = opened.logits(data)
    place = ffi.from_buffer("float[]", logits)
    assert not lib.prune_model_logits(
        out[0], data.handle, ffi.NULL, 0, ffi.NULL, place, logits.size, ffi.NULL
    )
    np.testing.assert_array_equal(logits, wanted)
    lib.prune_model_release(out[0])
    gc.collect()
    assert len(freed) == len(names)
