# SPDX-License-Identifier: Apache-2.0
"""The oracle of all families: it is transformers, its mask removes sublayers, nothing is missed.

The blocks' own `forward`, which the oracle does not use, is the reference here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from family_models import CASES, FAMILIES, write_family
from family_norms import load_family
from family_oracle import forget_longer_sequences
from family_plans import is_block, plan_of
from family_subjects import FamilySubject, FamilySubjects

SAME = 1e-5  # of the largest logit
SEEN = 1e-4  # of the largest logit: twice what an engine may be off by
# Without positions that turn keys, their bias adds the same to all scores of a query.
UNSEEN = re.compile(r"decoder\.layers\.\d+\.self_attn\.k_proj\.bias")
UNTURNED = re.compile(r"model\.layers\.2\.self_attn\.k_proj\.bias")  # of SmolLM3
EDITED = [name for name, case in CASES.items() if case.edit or case.pack]


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> FamilySubjects:
    return FamilySubjects(tmp_path_factory.mktemp("families"))


@pytest.fixture(params=CASES)
def subject(request: pytest.FixtureRequest, families: FamilySubjects) -> FamilySubject:
    return families(request.param)


def plain_logits(model: torch.nn.Module, ids: np.ndarray) -> np.ndarray:
    forget_longer_sequences(model)
    with torch.inference_mode():
        return model(torch.from_numpy(ids)[None], use_cache=False).logits[0].numpy()


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max() / np.abs(other).max())


def test_without_a_mask_it_is_transformers(subject: FamilySubject) -> None:
    model = load_family(subject.directory)
    wanted = np.concatenate([plain_logits(model, ids) for ids in subject.sequences])
    run = subject.oracle.run(subject.sequences)
    assert apart(run.logits, wanted) <= SAME
    assert wanted.std() > 0.5 and np.abs(run.updates).max(axis=(1, 2)).min() > 0.1


def test_removing_a_sublayer_is_making_it_add_zeros(subject: FamilySubject) -> None:
    ids = subject.sequences[3]
    for mask in subject.masks.values():
        model = load_family(subject.directory)
        layers = [module for module in model.modules() if is_block(module)]
        for sublayer in np.flatnonzero(mask == 0):
            silence(layers[sublayer // 2], sublayer % 2)
        found = subject.oracle.run([ids], mask).logits
        assert apart(found, plain_logits(model, ids)) <= SAME


def silence(layer: torch.nn.Module, kind: int) -> None:
    """Makes a sublayer give zeros, of the shape of what it reads."""
    if kind == 0:
        attention = getattr(layer, plan_of(layer).attention)
        attention.forward = lambda hidden_states, **_: (torch.zeros_like(hidden_states), None)
    elif hasattr(layer, "fc2"):
        layer.fc2.forward = lambda inner: inner.new_zeros(len(inner), layer.fc2.out_features)
    elif type(layer).__name__.startswith("GptOss"):
        layer.mlp.forward = lambda hidden: (torch.zeros_like(hidden), None)
    else:
        for name in ("mlp", "block_sparse_moe", "shared_mlp"):
            if getattr(layer, name, None) is not None:
                getattr(layer, name).forward = torch.zeros_like


def test_every_vector_is_seen_in_the_logits(subject: FamilySubject) -> None:
    """Gains, biases, sinks and what else there is that an engine could forget."""
    ids = subject.sequences[3]
    model = load_family(subject.directory)
    whole = plain_logits(model, ids)
    for name, parameter in model.named_parameters():
        if (parameter.ndim > 1 and "bias" not in name) or UNSEEN.search(name):
            continue
        if subject.family == "SmolLM3" and UNTURNED.search(name):
            continue
        # Norms that add one to their gain are neutral at zero, the others at one.
        stored = parameter.detach().clone()
        adds_one = "norm" in name and abs(float(stored.mean())) < 0.5
        with torch.no_grad():
            parameter.fill_(1.0 if "norm" in name and not adds_one else 0.0)
        forgotten = plain_logits(model, ids)
        with torch.no_grad():
            parameter.copy_(stored)
        assert apart(forgotten, whole) > SEEN, f"{name} makes no difference"


@pytest.mark.parametrize("name", EDITED)
def test_earlier_checkpoints_compute_the_same(
    name: str, families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families(name)
    write_family(name, tmp_path, edited=False)
    ids = subject.sequences[5]
    now, then = load_family(tmp_path), load_family(subject.directory)
    contents = [
        [(directory / file).read_bytes() for file in ("config.json", "model.safetensors")]
        for directory in (tmp_path, subject.directory)
    ]
    assert contents[0] != contents[1]
    assert np.array_equal(plain_logits(now, ids), plain_logits(then, ids))


def set_to(key: str, value: object) -> Callable[[dict], None]:
    def edit(config: dict) -> None:
        assert config[key] != value
        config[key] = value

    return edit


def rotary(**values: object) -> Callable[[dict], None]:
    def edit(config: dict) -> None:
        config["rope_parameters"] |= values

    return edit


SETTINGS = [
    ("llama-linear", rotary(rope_type="default")),
    ("llama-dynamic", rotary(rope_type="default")),
    ("llama-yarn", rotary(rope_type="default")),
    ("llama-longrope", rotary(rope_type="default")),
    ("llama-llama3", rotary(rope_type="default")),
    ("llama-proportional", rotary(rope_type="default")),
    ("llama-proportional", rotary(factor=1.0)),
    ("llama-lns", set_to("norm_type", "pre")),
    ("gemma2", set_to("sliding_window", 6)),
    ("gemma2", set_to("layer_types", ["full_attention"] * 4)),
    ("gemma2", set_to("attn_logit_softcapping", None)),
    ("gemma2", set_to("final_logit_softcapping", None)),
    ("gemma2", set_to("query_pre_attn_scalar", 12)),
    ("gemma3", set_to("layer_types", ["sliding_attention"] * 4)),
    ("gemma3", lambda config: config["rope_parameters"]["full_attention"].update(factor=1.0)),
    ("gemma3", lambda config: config["rope_parameters"]["sliding_attention"].update(rope_theta=9)),
    ("phi3-window", set_to("sliding_window", 6)),
    ("phi3-longrope", lambda config: config["rope_parameters"].update(short_factor=[1.0] * 4)),
    ("phi3-longrope", lambda config: config["rope_parameters"].update(long_factor=[1.0] * 4)),
    ("phi", rotary(partial_rotary_factor=1.0)),
    ("olmo-clip", set_to("clip_qkv", None)),
    ("olmo3", set_to("layer_types", ["full_attention"] * 4)),
    ("olmo3", lambda config: config["rope_parameters"]["full_attention"].pop("attention_factor")),
    ("stablelm", rotary(partial_rotary_factor=1.0)),
    ("cohere", set_to("logit_scale", 1.0)),
    ("cohere2", set_to("sliding_window", 6)),
    ("cohere2", set_to("layer_types", ["sliding_attention"] * 4)),
    ("gpt2-inverse-layers", set_to("scale_attn_by_inverse_layer_idx", False)),
    ("gpt2", set_to("activation_function", "gelu")),
    ("starcoder2", set_to("hidden_act", "gelu")),
    ("gemma2", set_to("hidden_activation", "gelu")),
    ("phi", set_to("hidden_act", "gelu")),
    ("neox", set_to("hidden_act", "gelu_new")),
    ("neox", set_to("use_parallel_residual", False)),
    ("neox", rotary(partial_rotary_factor=1.0)),
    ("neox", set_to("hidden_act", "relu")),
    ("smollm3", set_to("no_rope_layers", [1, 1, 1, 1])),
    ("smollm3-window", set_to("sliding_window", 6)),
    ("granite", set_to("embedding_multiplier", 1.0)),
    ("granite", set_to("attention_multiplier", 0.35)),
    ("granite", set_to("residual_multiplier", 1.0)),
    ("granite", set_to("logits_scaling", 1.0)),
    ("starcoder2-window", set_to("sliding_window", None)),
    ("glm", rotary(partial_rotary_factor=1.0)),
    ("glm4", rotary(partial_rotary_factor=1.0)),
    ("nemotron", rotary(partial_rotary_factor=1.0)),
    ("nemotron", set_to("hidden_act", "relu")),
    ("arcee", set_to("hidden_act", "relu")),
    ("exaone4", set_to("layer_types", ["sliding_attention"] * 4)),
    ("exaone4", set_to("sliding_window", 6)),
    ("hunyuan-alpha", rotary(alpha=1.0)),
    ("apertus", rotary(factor=1.0)),
    ("mixtral-window", set_to("sliding_window", 6)),
    ("mixtral", set_to("num_experts_per_tok", 1)),
    ("qwen2-moe-dense-layers", set_to("norm_topk_prob", False)),
    ("qwen2-moe-window", set_to("sliding_window", 6)),
    ("qwen3-moe", set_to("norm_topk_prob", False)),
    ("olmoe", set_to("norm_topk_prob", True)),
    ("olmoe-clip", set_to("clip_qkv", None)),
    ("gpt-oss", set_to("sliding_window", 6)),
    ("gpt-oss", rotary(truncate=True)),
    ("gpt-oss", set_to("swiglu_limit", 0.5)),
    ("granitemoe", set_to("residual_multiplier", 1.0)),
    ("opt-post-norm", set_to("do_layer_norm_before", True)),
]


@pytest.mark.parametrize(
    ("name", "edit"), SETTINGS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_setting_is_seen_in_the_logits(
    name: str, edit: Callable[[dict], None], families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families(name)
    config = json.loads((subject.directory / "config.json").read_text())
    edit(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(subject.directory / "model.safetensors")
    changed = load_family(tmp_path)
    own = subject.oracle.run(subject.sequences).logits
    other = np.concatenate([plain_logits(changed, ids) for ids in subject.sequences])
    assert apart(other, own) > SEEN


def test_every_family_has_a_case() -> None:
    assert len(FAMILIES) >= 38
    assert {case.family for case in CASES.values()} == set(FAMILIES)
