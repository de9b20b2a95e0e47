# SPDX-License-Identifier: Apache-2.0
"""Steps of healing are those of a loop over the module with torch.optim.AdamW."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from plain_healing import PlainHealing  # noqa: E402
from prunecore.torch import wrap  # noqa: E402
from torch_models import BLOCKS, sequences, tiny  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SAME = 1e-6  # relative
RATE = 3e-3
WEIGHTS = [np.where(np.arange(len(ids)) > len(ids) // 2, 1.5, 0.0) for ids in sequences()]
"""Prompts do not count, answers do."""


def data(weights: Any = None) -> pc.Data:
    return pc.Data(sequences(), weights)


def mask_of(*names: str) -> pc.Mask:
    return pc.Mask.remove(names, BLOCKS)


def linear(step: int, steps: int) -> float:
    """The rate that get_linear_schedule_with_warmup of transformers gives, without a warm-up."""
    return RATE * (steps - (step - 1)) / steps


CASES: dict[str, tuple[str, list[str], list[str], Callable[[str], bool]]] = {
    "head, final norm and last blocks of Llama": (
        "llama",
        ["block.2", "attn.0"],
        ["head", "final_norm", "last:2"],
        lambda name: name.startswith(
            ("lm_head", "model.norm", "model.layers.1.", "model.layers.3.")
        ),
    ),
    "norms of Qwen3, of queries and keys too": (
        "qwen3",
        ["block.3"],
        ["norms"],
        lambda name: "norm" in name and ".layers.3." not in name,
    ),
    "sublayers of GPT-2": (
        "gpt2",
        ["ffn.1"],
        ["attn.1", "ffn.2"],
        lambda name: name.startswith(
            ("transformer.h.1.attn.", "transformer.h.1.ln_1.")
            + ("transformer.h.2.mlp.", "transformer.h.2.ln_2.")
        ),
    ),
    "all of Gemma 3, whose head is the embedding": (
        "gemma3",
        ["attn.2"],
        ["all"],
        lambda name: (
            not (
                ".layers.2." in name
                and ("self_attn" in name or "input_layer" in name)
                or name.endswith("layers.2.post_attention_layernorm.weight")
            )
        ),
    ),
    "blocks of GPT-NeoX, whose sublayers read the same": (
        "gpt_neox",
        ["block.1"],
        ["block.0", "final_norm"],
        lambda name: ".layers.0." in name or "final_layer_norm" in name,
    ),
    "the norms of sums of OPT": (
        "opt-norm-last",
        ["ffn.2"],
        ["last:1"],
        lambda name: ".layers.3." in name,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_losses_and_weights_are_those_of_a_plain_loop(case: str) -> None:
    name, removed, train, is_trained = CASES[case]
    module = tiny(name, attention="eager")
    mask = mask_of(*removed)
    plain = PlainHealing(module, name, mask.keep, is_trained)
    with wrap(module) as model:
        healed = model.heal(
            data(),
            mask,
            train=train,
            steps=10,
            batch_sequences=100,
            learning_rate=RATE,
            warmup_steps=0,
            held_out=data(),
            evaluate_every=1,
        )
    losses = [plain.step(linear(step, 10), sequences()) for step in range(1, 11)]
    found = [record.loss for record in healed.history[1:]]
    assert found[0] == pytest.approx(losses[0], rel=SAME)
    np.testing.assert_allclose(found, losses, rtol=SAME)
    assert healed.loss_before == pytest.approx(losses[0], rel=SAME)
    assert healed.loss_after == pytest.approx(float(plain.loss(sequences()).detach()), rel=SAME)
    assert healed.best_step == 10 and losses[9] < losses[0]
    assert healed.trained_parameters == sum(p.numel() for p in plain.trained.values())
    theirs = dict(plain.module.named_parameters())
    for own, parameter in healed.model.module.named_parameters():
        ours, wanted = parameter.detach(), theirs[own].detach()
        if own in plain.trained:
            # Biases of keys change nothing: AdamW moves them by rounding alone.
            says_something = plain.optimiser.state[plain.masters[own]]["exp_avg_sq"] > 1e-14
            ours, wanted = ours[says_something], wanted[says_something]
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)
        assert torch.equal(parameter, module.get_parameter(own)) == (own not in plain.trained)


def test_tokens_of_weight_zero_do_not_count_and_decay_is_for_matrices() -> None:
    module = tiny("llama")
    mask = mask_of("block.1")
    plain = PlainHealing(
        module,
        "llama",
        mask.keep,
        lambda name: ".layers.3." in name or name == "model.norm.weight",
        weight_decay=0.3,
        clip_norm=0.05,
    )
    with wrap(module) as model:
        healed = model.heal(
            data(WEIGHTS),
            mask,
            train="last:1, final_norm",
            steps=4,
            batch_sequences=6,
            learning_rate=RATE,
            schedule="cosine",
            warmup_steps=2,
            weight_decay=0.3,
            clip_norm=0.05,
            held_out=data(),
            evaluate_every=1,
            batch_tokens=20,
        )
    rates = [RATE / 2, RATE, RATE, RATE / 2]  # half a cosine over two steps: 1, then 1/2
    assert [record.learning_rate for record in healed.history[1:]] == pytest.approx(rates)
    losses = [plain.step(rate, sequences(), WEIGHTS) for rate in rates]
    np.testing.assert_allclose([r.loss for r in healed.history[1:]], losses, rtol=SAME)
    # The held-out data count all tokens.
    assert healed.loss_after == pytest.approx(float(plain.loss(sequences()).detach()), rel=SAME)


@pytest.mark.parametrize("others", ["whole model", "wrapped", "masked", "recovered"])
def test_distillation_is_forward_kl_of_the_teachers_logits(others: str) -> None:
    module, other = tiny("llama"), tiny("mistral")
    mask = mask_of("block.2")
    plain = PlainHealing(module, "llama", mask.keep, lambda name: ".layers.3." in name)
    logits = module if others == "whole model" else other
    with wrap(module) as model, wrap(other) as second:
        teacher: Any = None if others == "whole model" else second
        if others == "masked":
            second.mask = mask_of("block.0", "ffn.3")
            with second.apply_mask():
                logits = FixedLogits(other)
        if others == "recovered":  # neither wrapped itself nor of a directory
            adapters = second.recover(mask_of("block.0"), data(), "bias", objective="closed_form")
            teacher = adapters.attach(second)
            with second.apply_mask(adapters=adapters):
                logits = FixedLogits(other)
        healed = model.heal(
            data(),
            mask,
            train="last:1",
            objective="kl",
            teacher=teacher,
            steps=3,
            batch_sequences=6,
            learning_rate=RATE,
            schedule="constant",
            warmup_steps=0,
            held_out=data(),
            evaluate_every=1,
        )
    losses = [plain.step(RATE, sequences(), teacher=logits) for _ in range(3)]
    # Sums of small differences of probabilities.
    np.testing.assert_allclose([r.loss for r in healed.history[1:]], losses, rtol=1e-5)
    assert healed.loss_after < healed.loss_before


class FixedLogits:
    """What a module gives now, for later."""

    def __init__(self, module: Any) -> None:
        rows = [torch.from_numpy(ids)[None] for ids in sequences()]
        with torch.no_grad():
            self.known = {row.numpy().tobytes(): module(row, use_cache=False) for row in rows}

    def __call__(self, row: Any, use_cache: bool) -> Any:
        return self.known[row.numpy().tobytes()]


def test_js_is_symmetric_and_at_most_ln_2() -> None:
    with wrap(tiny("llama")) as model:
        options: dict[str, Any] = {"train": "last:1", "objective": "js", "held_out": data()}
        healed = model.heal(data(), mask_of("block.2"), steps=3, learning_rate=RATE, **options)
        value = model.damages(data(), [mask_of("block.2")], "js").values[0]
        assert healed.loss_before == pytest.approx(value, rel=1e-5)
        assert healed.loss_after < healed.loss_before < math.log(2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_modules_are_trained_through_masters_in_fp32(dtype: Any) -> None:
    """A rate that rounding to bf16 would swallow still moves the weights."""
    module = tiny("llama", dtype, attention="eager")
    mask = mask_of("block.1")
    plain = PlainHealing(module, "llama", mask.keep, lambda name: ".layers.3." in name)
    with wrap(module) as model:
        healed = model.heal(
            data(),
            mask,
            train="last:1",
            steps=12,
            batch_sequences=6,
            learning_rate=1e-4,
            schedule="constant",
            warmup_steps=0,
            held_out=data(),
        )
    losses = [plain.step(1e-4, sequences()) for _ in range(12)]
    assert healed.model.module.dtype == dtype
    assert healed.history[-1].loss == pytest.approx(losses[-1], rel=2e-3)
    assert healed.loss_before - healed.loss_after > 0.5 * (losses[0] - losses[-1]) > 0
    alone = PlainHealing(module, "llama", mask.keep, lambda name: ".layers.3." in name, dtype=dtype)
    swallowed = [alone.step(1e-4, sequences()) for _ in range(12)]
    if dtype == torch.bfloat16:
        assert losses[-1] < swallowed[-1]


def test_gradients_that_overflow_in_fp16_are_computed_once_more(tmp_path: Path) -> None:
    module = tiny("llama", torch.float16)
    with torch.no_grad():
        module.model.norm.weight.mul_(60)  # gradients times 65,536 leave the range of fp16
    with wrap(module) as model:
        healed = model.heal(
            data(),
            train="last:1",
            steps=2,
            batch_sequences=6,
            learning_rate=1e-4,
            held_out=data(),
            checkpoint=tmp_path / "run",
        )
    assert math.isfinite(healed.loss_after) and healed.steps == 2
    state = json.loads((tmp_path / "run").read_bytes().split(b"\n")[1])
    assert 1 <= state["loss_scale"] < 65536


def test_the_usual_schedule_rises_over_a_tenth_and_falls_in_a_line() -> None:
    with wrap(tiny("llama")) as model:
        healed = model.heal(
            data(),
            train="final_norm",
            steps=20,
            learning_rate=1.0,
            held_out=data(),
            evaluate_every=1,
        )
    rates = [record.learning_rate for record in healed.history[1:]]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[3:] == pytest.approx([1 - step / 18 for step in range(1, 18)])
