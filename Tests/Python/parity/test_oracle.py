# SPDX-License-Identifier: Apache-2.0
"""The oracle itself: it is transformers, its mask removes sublayers, its models miss nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import Oracle, without
from random_models import CHECKPOINTS, VARIANTS
from subjects import Subject, Subjects
from transformers import AutoModelForCausalLM

LOGIT_TOLERANCE = 2e-4
MARGIN = 10  # how many tolerances a forgotten part has to move the logits
KINDS = [f"{variant.name}-{variant.storage[0]}" for variant in VARIANTS]


def plain_model(directory: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()


def plain_logits(model: torch.nn.Module, ids: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(ids)[None], use_cache=False).logits[0].numpy()


@pytest.fixture(params=KINDS)
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


def longest(subject: Subject) -> np.ndarray:
    return max(subject.sequences, key=len)


def test_without_a_mask_it_is_transformers(subject: Subject) -> None:
    model = plain_model(subject.directory)
    run = subject.oracle.run(subject.sequences)
    wanted = np.concatenate([plain_logits(model, ids) for ids in subject.sequences])
    assert np.abs(run.logits - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_removing_a_sublayer_is_zeroing_its_last_matrix(subject: Subject) -> None:
    model = plain_model(subject.directory)
    ids = longest(subject)
    everything = np.ones(2 * subject.n_blocks, dtype=np.uint8)
    for block, layer in enumerate(model.model.layers):
        for offset, last in enumerate((layer.self_attn.o_proj, layer.mlp.down_proj)):
            parameters = list(last.parameters())
            stored = [parameter.detach().clone() for parameter in parameters]
            with torch.no_grad():
                [parameter.zero_() for parameter in parameters]
            wanted = plain_logits(model, ids)
            with torch.no_grad():
                [p.copy_(kept) for p, kept in zip(parameters, stored, strict=True)]
            keep = without(everything, range(2 * block + offset, 2 * block + offset + 1))
            found = subject.oracle.run([ids], keep).logits
            assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_states_lead_from_the_embeddings_to_the_logits(subject: Subject) -> None:
    ids = longest(subject)
    model = subject.oracle.model
    run = subject.oracle.run([ids])
    with torch.inference_mode():
        embedded = model.model.embed_tokens(torch.from_numpy(ids)).numpy()
        head = model.lm_head(model.model.norm(torch.from_numpy(run.states[-1]))).numpy()
    assert len(run.states) == 2 * subject.n_blocks + 1
    assert np.array_equal(run.states[0], embedded)
    assert np.abs(head - run.logits).max() < 1e-5 * np.abs(run.logits).max()
    nothing = subject.oracle.run([ids], np.zeros(2 * subject.n_blocks, dtype=np.uint8))
    assert all(np.array_equal(state, embedded) for state in nothing.states)


def test_token_losses_are_cross_entropies(subject: Subject) -> None:
    ids = longest(subject)
    run = subject.oracle.run([ids])
    wanted = torch.nn.functional.cross_entropy(
        torch.from_numpy(run.logits[:-1]).double(), torch.from_numpy(ids[1:]), reduction="none"
    )
    assert run.token_losses[0] == 0
    assert np.allclose(run.token_losses[1:], wanted.numpy(), rtol=0, atol=1e-9)
    assert np.isfinite(run.token_losses).all()


def test_every_norm_and_bias_is_seen_in_the_logits(subject: Subject) -> None:
    ids = longest(subject)
    model = plain_model(subject.directory)
    whole = plain_logits(model, ids)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            continue
        stored = parameter.detach().clone()
        with torch.no_grad():
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        forgotten = plain_logits(model, ids)
        with torch.no_grad():
            parameter.copy_(stored)
        assert moves(whole, forgotten), f"{name} makes no difference"


def no_scaling(config: dict) -> None:
    for key in ("rope_parameters", "rope_scaling"):
        if config.get(key):
            theta = config[key].get("rope_theta", config.get("rope_theta"))
            config[key] = {"rope_type": "default", "rope_theta": theta}


def no_window(config: dict) -> None:
    config |= {"sliding_window": None, "use_sliding_window": False}
    config.pop("layer_types", None)


def all_windows(config: dict) -> None:
    config |= {"use_sliding_window": True, "max_window_layers": 0}
    config.pop("layer_types", None)


def longer_window(config: dict) -> None:
    config["sliding_window"] += 1


def smaller_epsilon(config: dict) -> None:
    config["rms_norm_eps"] = 1e-6


def without_keys(*keys: str) -> Callable[[dict], None]:
    def edit(config: dict) -> None:
        for key in keys:
            del config["rope_parameters"][key]

    return edit


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("llama-llama3-float32", no_scaling),
        ("llama-old-llama3-bfloat16", no_scaling),
        ("llama-linear-float32", no_scaling),
        ("llama-old-linear-float32", no_scaling),
        ("llama-yarn-float32", no_scaling),
        ("qwen2-old-window-yarn-float32", no_scaling),
        ("llama-yarn-tuned-float32", without_keys("mscale", "mscale_all_dim")),
        ("llama-yarn-tuned-float32", without_keys("beta_fast", "beta_slow")),
        ("llama-yarn-tuned-float32", without_keys("truncate")),
        ("mistral-window-float32", no_window),
        ("mistral-window-float32", longer_window),
        ("qwen2-biases-float32", all_windows),
        ("qwen2-window-float32", no_window),
        ("qwen2-window-float32", all_windows),
        ("qwen2-window-float32", longer_window),
        ("qwen2-old-window-yarn-float32", all_windows),
        ("qwen3-layer-types-float32", no_window),
        ("qwen3-layer-types-float32", all_windows),
        ("llama-sharded-bfloat16", smaller_epsilon),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__qualname__.split(".")[0],
)
def test_every_setting_is_seen_in_the_logits(
    name: str, edit: Callable[[dict], None], subjects: Subjects, tmp_path: Path
) -> None:
    subject = subjects(name)
    other = tmp_path / "other"
    shutil.copytree(subject.directory, other)
    config = json.loads((other / "config.json").read_text())
    edit(config)
    (other / "config.json").write_text(json.dumps(config))
    ids = longest(subject)
    assert moves(subject.oracle.run([ids]).logits, Oracle(other).run([ids]).logits)


def moves(whole: np.ndarray, forgotten: np.ndarray) -> bool:
    return np.abs(whole - forgotten).max() > MARGIN * LOGIT_TOLERANCE * np.abs(whole).max()


def test_the_checkpoints_are_what_they_say(subjects: Subjects) -> None:
    assert len(list(subjects("llama-sharded-bfloat16").directory.glob("*.safetensors"))) > 3
    for name in ("llama-old-llama3-bfloat16", "llama-old-linear-float32"):
        config = json.loads((subjects(name).directory / "config.json").read_text())
        assert "rope_parameters" not in config
        assert config["rope_scaling"]["type"] in name
    for name in CHECKPOINTS:
        subject = subjects(name)
        assert subject.oracle.run(subject.sequences).logits.std() > 1, name
