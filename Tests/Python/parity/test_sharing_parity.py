# SPDX-License-Identifier: Apache-2.0
"""Models with shared weights: the same logits in transformers, and the same training in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
import torch
from fresh_process import load_all
from safetensors.torch import load_file
from sharing_models import CONFIGS, checkpoint, sequences
from transformers import AutoModelForCausalLM

EQUAL = 1e-5  # of the largest logit
REMOVED = ("attn.1", "ffn.2", "ffn.3")

TOKENS = np.random.default_rng(1).integers(3, 97, (2, 40))


def ours(model: pc.Model, mask: pc.Mask | None = None) -> np.ndarray:
    return model.logits(pc.Data(list(TOKENS)), mask).reshape(2, 40, -1)


def test_a_fresh_process_of_transformers_has_the_same_logits(tmp_path: Path) -> None:
    """Of every way to store projections, and of a mask besides; nothing is missing or unused."""
    wanted: dict[str, np.ndarray] = {}

    def place(name: str) -> Path:
        own = tmp_path / "exports" / f"{name}-trusted"
        own.mkdir(parents=True)
        np.save(own / "tokens.npy", TOKENS)
        return own / "export"

    for family in CONFIGS:
        with pc.open(checkpoint(tmp_path / family, family)) as model:
            scaled = family != "llama"
            removed = pc.Mask.remove(REMOVED, 4)
            shared = model.share(removed, sequences(), rank=5, scaled=scaled).model
            wanted[family] = ours(shared)
            assert not np.allclose(wanted[family], ours(model), rtol=1e-3)
            shared.export(place(family), format="hf_custom")
            masks = {
                f"{family}-masked": pc.Mask.remove(("ffn.0", "attn.2"), 4),
                f"{family}-without-base": pc.Mask.remove(("ffn.1",), 4),
            }
            for name, mask in masks.items() if family == "llama" else ():
                wanted[name] = ours(shared, mask)
                shared.export(place(name), mask, format="hf_custom")
    load_all(tmp_path / "exports")
    for name, logits in wanted.items():
        own = tmp_path / "exports" / f"{name}-trusted"
        found = np.load(own / "found.npz")["logits"]
        assert np.abs(found - logits).max() <= EQUAL * np.abs(logits).max(), name
        with pc.open(own / "export") as again:
            assert np.abs(ours(again) - logits).max() <= EQUAL * np.abs(logits).max(), name


def test_a_base_is_in_memory_once_in_transformers(tmp_path: Path) -> None:
    with pc.open(checkpoint(tmp_path / "model")) as model:
        shared = model.share(pc.Mask.remove(REMOVED, 4), sequences(), rank=5)
        shared.model.export(tmp_path / "out", format="hf_custom")
        stored_bytes = shared.model.shape.parameter_bytes
    loaded = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", trust_remote_code=True, dtype=torch.float32
    )
    # PyTorch counts a parameter once; the head of this model is no embedding.
    assert sum(4 * each.numel() for each in loaded.parameters()) == stored_bytes


def test_training_goes_as_in_pytorch(tmp_path: Path) -> None:
    """Three steps of AdamW on the deltas alone, all of them in place: the same losses."""
    data, held_out = sequences(8), sequences(3, seed=9)
    rate, steps = 3e-3, 3
    losses: list[float] = []
    with pc.open(checkpoint(tmp_path / "model")) as model:
        removed = pc.Mask.remove(REMOVED, 4)
        model.share(removed, data, rank=4).model.export(tmp_path / "start", format="hf_custom")
        model.share(
            removed, data, rank=4, objective="ce", held_out=held_out, steps=steps,
            step_tokens=10**6, learning_rate=rate, first_share=1.0,
            on_step=lambda told: losses.append(told.loss),
        )  # fmt: skip
    wanted = losses_in_pytorch(tmp_path / "model", tmp_path / "start", data, rate, steps)
    assert losses == pytest.approx(wanted, rel=1e-4)
    assert losses[-1] < losses[0]


def losses_in_pytorch(
    directory: Path, start: Path, data: pc.Data, rate: float, steps: int
) -> list[float]:
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    )
    stored = load_file(start / "model.safetensors")
    factors = {
        name: torch.nn.Parameter(tensor)
        for name, tensor in stored.items()
        if name.endswith((".up.weight", ".down.weight"))
    }
    weights = {name.rsplit(".", 2)[0] for name in factors}
    own = dict(model.named_parameters())
    places = {"self_attn": {1: 0}, "mlp": {2: 1, 3: 1}}
    optimiser = torch.optim.AdamW(
        factors.values(), lr=rate, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.0
    )
    losses = []
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 + np.cos(np.pi * (step - 1) / steps)) / 2
        replaced = {}
        for weight in weights:
            _, _, block, part, projection = weight.split(".")
            base = f"model.layers.{places[part][int(block)]}.{part}.{projection}.weight"
            delta = factors[f"{weight}.up.weight"] @ factors[f"{weight}.down.weight"]
            replaced[f"{weight}.weight"] = own[base].detach() + delta
        total, count = torch.zeros(()), 0
        for tokens in data.sequences:
            row = torch.tensor(np.asarray(tokens, dtype=np.int64))[None]
            logits = torch.func.functional_call(model, replaced, (row,)).logits[0, :-1]
            total = total + torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum")
            count += row.shape[1] - 1
        loss = total / count
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(factors.values()), 1.0)
        optimiser.step()
    return losses
