# SPDX-License-Identifier: Apache-2.0
"""Healing in the library takes the steps of a loop over transformers with torch.optim.AdamW."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
import torch
from plain_healing import PlainHealing
from torch_models import BLOCKS, sequences, tiny
from transformers import AutoModelForCausalLM

pytestmark = pytest.mark.kernels

RATE = 1e-3
SAME = 1e-4  # relative, of losses in fp32
WEIGHTS = [np.where(np.arange(len(ids)) > len(ids) // 2, 1.5, 0.0) for ids in sequences()]
"""Prompts do not count, answers do."""

Trained = Callable[[str], bool]

# Model, what is removed, what is trained, and which parameters of transformers that is.
CASES: dict[str, tuple[str, list[str], str, Trained]] = {
    "head, final norm and last blocks of Llama": (
        "llama",
        ["block.2", "attn.0"],
        "head,final_norm,last:2",
        lambda name: name.startswith(
            ("lm_head", "model.norm", "model.layers.1.", "model.layers.3.")
        ),
    ),
    "norms of Qwen3, of queries and keys too": (
        "qwen3",
        ["block.3"],
        "norms",
        lambda name: "norm" in name and ".layers.3." not in name,
    ),
    "sublayers of GPT-2, transposed and with biases": (
        "gpt2",
        ["ffn.1"],
        "attn.1,ffn.2",
        lambda name: name.startswith(
            ("transformer.h.1.attn.", "transformer.h.1.ln_1.")
            + ("transformer.h.2.mlp.", "transformer.h.2.ln_2.")
        ),
    ),
    "all of Gemma 3, whose head is the embedding": (
        "gemma3",
        [],
        "all",
        lambda name: True,
    ),
}


def opened(module: Any, folder: Path, compute: Any) -> pc.Model:
    module.save_pretrained(folder)
    return pc.open(folder, compute)


def healed_by(
    model: pc.Model, removed: list[str], train: str, objective: Any, steps: int
) -> pc.Healed[pc.Model]:
    rows = sequences()
    data = pc.Data(rows, WEIGHTS)
    return model.heal(
        data,
        pc.Mask.remove(removed, BLOCKS),
        train=train,
        objective=objective,
        steps=steps,
        batch_sequences=len(rows),
        learning_rate=RATE,
        schedule="constant",
        warmup_steps=0,
        weight_decay=0.1,
        held_out=data,
        evaluate_every=1,
    )


def plain_losses(plain: PlainHealing, teacher: Any, steps: int) -> list[float]:
    """Losses before each step and after the last one."""
    found = [plain.step(RATE, sequences(), WEIGHTS, teacher=teacher) for _ in range(steps)]
    with torch.no_grad():
        return [*found, float(plain.loss(sequences(), WEIGHTS, teacher))]


@pytest.mark.parametrize("objective", ["ce", "kl"])
@pytest.mark.parametrize("case", CASES)
def test_losses_and_weights_are_those_of_a_plain_loop(
    case: str, objective: str, tmp_path: Path
) -> None:
    name, removed, train, is_trained = CASES[case]
    if objective == "kl" and not removed:
        removed = ["attn.2"]  # a model is no further from itself than 0
    module = tiny(name)
    mask = pc.Mask.remove(removed, BLOCKS)
    plain = PlainHealing(
        module, name, mask.keep, lambda own: is_trained(own) and not _removed(own, name, mask),
        weight_decay=0.1,
    )  # fmt: skip
    teacher = module if objective == "kl" else None
    with opened(module, tmp_path / "model", "float32") as model:
        healed = healed_by(model, removed, train, objective, 10)
        wanted = plain_losses(plain, teacher, 10)
        found = [record.held_out_loss for record in healed.history]
        assert found == pytest.approx(wanted, rel=SAME)
        assert healed.trained_parameters == sum(own.numel() for own in plain.trained.values())
        assert healed.best_step == 10
        healed.model.export(tmp_path / "whole", pc.Mask.all(BLOCKS), format="hf_plain")
    kept = AutoModelForCausalLM.from_pretrained(tmp_path / "whole", dtype=torch.float32)
    for own, parameter in plain.module.named_parameters():
        before = dict(module.named_parameters())[own].detach()
        got = dict(kept.named_parameters())[own].detach()
        if own not in plain.trained:
            assert torch.equal(got, before), own
            continue
        moved = (parameter.detach() - before).norm()
        assert (got - parameter.detach()).norm() <= 2e-3 * moved, own


def _removed(own: str, name: str, mask: pc.Mask) -> bool:
    """Whether a parameter is of a sublayer that the mask removes."""
    parts = own.split(".")
    block = next((int(part) for part in parts if part.isdigit()), None)
    if block is None:
        return False
    attention = {"self_attn", "attn", "input_layernorm", "ln_1", "post_attention_layernorm"}
    if name != "gemma3":
        attention -= {"post_attention_layernorm"}
    place = 0 if any(part in attention for part in parts) else 1
    return not mask.keep[2 * block + place]


@pytest.mark.skipif(not pc.runtime_info()["bfloat16"], reason="this CPU has no bf16 instructions")
def test_losses_in_bfloat16_are_near_those_of_a_bf16_module_with_fp32_masters(
    tmp_path: Path,
) -> None:
    name, removed, train, is_trained = CASES["head, final norm and last blocks of Llama"]
    module = tiny(name).to(torch.bfloat16)
    plain = PlainHealing(module, name, pc.Mask.remove(removed, BLOCKS).keep, is_trained)
    with opened(module, tmp_path / "model", "bfloat16") as model:
        healed = healed_by(model, removed, train, "ce", 10)
        wanted = plain_losses(plain, None, 10)
        found = [record.held_out_loss for record in healed.history]
    # Both round activations to 8 bits, in other places.
    assert found == pytest.approx(wanted, rel=5e-3)
    assert healed.loss_before - healed.loss_after == pytest.approx(wanted[0] - wanted[-1], rel=5e-2)
