# SPDX-License-Identifier: Apache-2.0
"""Adapters as PyTorch modules: inside a Hugging Face model they compute what ours computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MASK = pc.Mask.remove(["attn.3", "ffn.5", "block.8"], 12)


class Update(torch.nn.Module):  # type: ignore[misc,name-defined]
    """In the place of attention or MLP: what the adapter adds; nothing where there is none."""

    def __init__(self, module: Any, attention: bool) -> None:
        super().__init__()
        self.module = module
        self.attention = attention

    def forward(self, hidden_states: Any, **_: object) -> Any:
        zero = torch.zeros_like(hidden_states)
        update = zero if self.module is None else self.module.update(hidden_states)
        return (update, None) if self.attention else update


def put_in_place(model: Any, modules: dict[int, Any]) -> None:
    """Takes the removed sublayers and their norms out, and puts the modules in."""
    for index in np.flatnonzero(MASK.keep == 0):
        layer = model.model.layers[index // 2]
        norm = "post_attention_layernorm" if index % 2 else "input_layernorm"
        setattr(layer, norm, torch.nn.Identity())
        place = "mlp" if index % 2 else "self_attn"
        setattr(layer, place, Update(modules.get(int(index)), place == "self_attn"))


@pytest.mark.parametrize("kind", pc.ADAPTER_KINDS)
@pytest.mark.parametrize("input_", ["normed", "raw"])
def test_logits_are_those_of_the_recovered_model(
    tales: pc.Model, tales_dir: Path, tmp_path: Path, kind: Any, input_: Any
) -> None:
    from prunecore.torch import load_adapters

    text = pc.Data.from_text(tales_dir / "stories.jsonl", tales, 128)
    adapters = tales.recover(MASK, text[:8], kind, 8, input=input_)
    adapters.save(tmp_path)
    modules = load_adapters(tmp_path)
    assert sorted(modules) == [6, 11, 16]
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tales_dir, dtype=torch.float32, attn_implementation="eager"
    )
    put_in_place(model, modules)
    ids = text[8:10]
    with torch.no_grad():
        theirs = model(torch.from_numpy(np.stack(ids.sequences)).long()).logits.numpy()
    ours = adapters.attach(tales).logits(ids).reshape(theirs.shape)
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max() * 10
    assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)


def test_modules_train_and_are_saved_as_modules_are() -> None:
    from prunecore.torch import AdapterModule

    torch.manual_seed(0)
    module = AdapterModule(16, "low_rank", 2, epsilon=1e-5)
    h = torch.randn(3, 5, 16)
    assert torch.equal(module(h), h)  # a new one adds nothing
    assert {name for name, _ in module.named_parameters()} == {"bias", "down", "up"}
    module(h).square().sum().backward()
    assert module.up.grad.abs().sum() > 0 and module.bias.grad.abs().sum() > 0
    again = AdapterModule(16, "low_rank", 2, epsilon=1e-5)
    again.load_state_dict(module.state_dict())
    assert torch.equal(again(h), module(h))
    half = module(h.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert "low_rank" in repr(module) and "rank=2" in repr(module)
    with pytest.raises(ValueError, match="kind is 'lora'"):
        AdapterModule(16, "lora")


def test_load_adapters_refuses_missing_files(tmp_path: Path) -> None:
    from prunecore.torch import load_adapters

    with pytest.raises(pc.FileError):
        load_adapters(tmp_path / "nowhere")


def test_without_pytorch_the_rest_works() -> None:
    code = """
import sys
sys.modules["torch"] = None  # importing it fails
import prunecore
try:
    import prunecore.torch
except ImportError as error:
    assert isinstance(error, prunecore.LoadError)
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert "needs PyTorch" in done.stdout
