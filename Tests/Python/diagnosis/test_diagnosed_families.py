# SPDX-License-Identifier: Apache-2.0
"""Diagnoses of models that differ: scaled norms, parallel blocks, whole blocks of PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from prunecore.torch import wrap  # noqa: E402
from torch_models import sequences, tiny  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

DEPTH = 12


def deep(folder: Path, norm_type: str | None) -> Path:
    """A random Llama of twelve blocks, each of which adds as much as the others; or its LNS."""
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=DEPTH,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(2)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, parameter.shape[1] ** -0.5)
    model.save_pretrained(folder)
    if norm_type is not None:
        text = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(text | {"norm_type": norm_type}))
    return folder


def test_scaled_norms_keep_the_variance_from_growing(tmp_path: Path) -> None:
    """LayerNorm Scaling: block l adds updates of 1 / l of the variance, or less."""
    data = pc.Data(sequences())
    found = {}
    for norm_type in (None, "lns"):
        with pc.open(deep(tmp_path / str(norm_type), norm_type), compute="float32") as model:
            found[norm_type] = model.diagnose(data, ["variance", "angular"])
    plain, scaled = (found[kind].state_variance[::2] for kind in (None, "lns"))
    np.testing.assert_allclose(scaled[:2], plain[:2], rtol=1e-5)  # 1 / sqrt(1) in the first block
    ratio = scaled / plain
    assert np.all(np.diff(ratio[1:]) < 0) and ratio[-1] < 0.5
    grown = (plain[-1] - plain[1]) / (scaled[-1] - scaled[1])
    assert grown > 2
    assert np.all(found["lns"].token_update_variance[2:] < found[None].token_update_variance[2:])


@pytest.mark.parametrize("door", ["opened", "wrapped"])
def test_gradients_of_parallel_blocks_are_those_of_autograd(door: str, tmp_path: Path) -> None:
    """The feed-forward reads the state before the attention: no gradient is pulled alone."""
    module = tiny("gpt_neox", attention="eager")
    module.save_pretrained(tmp_path)
    made = pc.open(tmp_path, compute="float32") if door == "opened" else wrap(module)
    with made as model:
        found = model.diagnose(pc.Data(sequences()), "gradients")
    norms, changes = autograd(
        module, list(module.gpt_neox.layers), module.gpt_neox.final_layer_norm
    )
    np.testing.assert_allclose(found.gradient_norm, norms, rtol=1e-3)
    np.testing.assert_allclose(found.gradient_change, changes, rtol=1e-3)


def test_gradients_of_wrapped_whole_blocks_are_those_of_autograd() -> None:
    module = tiny("falcon", attention="eager")
    with wrap(module, granularity="block") as model:
        assert not model.shape.removes_sublayers
        found = model.diagnose(pc.Data(sequences()))
    norms, changes = autograd(module, list(module.transformer.h), module.transformer.ln_f)
    np.testing.assert_allclose(found.gradient_norm, norms, rtol=1e-3)
    np.testing.assert_allclose(found.gradient_change, changes, rtol=1e-3)
    assert list(found.missing) == ["taylor"] and found.sublayer_loss_increase is None


def autograd(module: Any, blocks: list[Any], last_norm: Any) -> tuple[np.ndarray, np.ndarray]:
    """Norms of gradients at the boundaries of blocks, and how much each block changes them."""
    slopes: list[list[np.ndarray]] = []
    n_tokens = 0
    for ids in sequences():
        states: list[Any] = []

        def kept(_: Any, given: Any, named: Any, states: list[Any] = states) -> None:
            states.append(given[0] if given else named["hidden_states"])
            states[-1].retain_grad()

        hooks = [
            part.register_forward_pre_hook(kept, with_kwargs=True) for part in (*blocks, last_norm)
        ]
        tokens = torch.from_numpy(ids)
        with torch.enable_grad():
            logits = module(tokens[None], use_cache=False).logits[0]
            torch.nn.functional.cross_entropy(logits[:-1], tokens[1:], reduction="sum").backward()
        for hook in hooks:
            hook.remove()
        slopes.append([state.grad[0].double().numpy() for state in states])
        n_tokens += len(ids)
    whole = [np.concatenate(each) for each in zip(*slopes, strict=True)]
    norms = np.array([np.linalg.norm(slope) for slope in whole])
    changes = [np.linalg.norm(a - b) for a, b in zip(whole, whole[1:], strict=False)]
    return norms / np.sqrt(n_tokens), np.array(changes) / norms[1:]
