# SPDX-License-Identifier: Apache-2.0
"""Exports of every family that lack sublayers: text over the cache, saving again, and checking.

What they compute without a cache is in test_family_parity.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
import torch
from family_exports import far, without
from family_models import CASES
from family_oracle import forget_longer_sequences
from family_subjects import FamilySubject, FamilySubjects
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

NEW_TOKENS = 6
CLOSE = 5e-5
# With this rule keys that are kept have the angles of a shorter text; in transformers, too.
GROWING = "llama-dynamic"


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> FamilySubjects:
    return FamilySubjects(tmp_path_factory.mktemp("families"))


def opened(subject: FamilySubject) -> pc.Model:
    """Its model; skips families that run in PyTorch alone."""
    try:
        return subject.model
    except pc.UnsupportedError as refused:
        pytest.skip(str(refused))


def load(directory: Path) -> PreTrainedModel:
    trusting = "auto_map" in json.loads((directory / "config.json").read_text())
    return AutoModelForCausalLM.from_pretrained(
        directory, trust_remote_code=trusting, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def logits(model: PreTrainedModel, ids: np.ndarray) -> np.ndarray:
    forget_longer_sequences(model)
    with torch.inference_mode():
        return model(torch.from_numpy(ids)[None], use_cache=False).logits[0].numpy()


def check_text(model: PreTrainedModel, prompt: np.ndarray, n_attention: int) -> None:
    """Over the cache every new token's logits are those of the whole text computed anew."""
    ids = torch.from_numpy(prompt)[None]
    forget_longer_sequences(model)
    with torch.inference_mode():
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_logits=True,
        )
    wanted = logits(model, made.sequences[0].numpy())[len(prompt) - 1 : -1]
    assert far(torch.cat(made.logits).numpy(), wanted) <= CLOSE
    layers = made.past_key_values.layers
    assert len(layers) == n_attention
    assert all(layer.keys.numel() > 0 for layer in layers)


@pytest.mark.parametrize("name", [name for name in CASES if name not in (GROWING, "llama-mix-ln")])
def test_text_over_the_cache_and_saving_again(
    name: str, families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families(name)
    mask = pc.Mask(subject.masks["random-1"])
    out = opened(subject).export(tmp_path / "out", mask, format="hf_custom")
    model = load(out)
    wanted = subject.oracle.run([subject.sequences[3]], mask.keep).logits
    found = logits(model, subject.sequences[3])
    assert far(found, wanted) <= CLOSE
    kept = int(mask.keep[::2].sum())
    for prompt in (subject.sequences[1][:9], subject.sequences[5][:21]):
        check_text(model, prompt, kept)
    model.save_pretrained(tmp_path / "saved")
    assert far(logits(load(tmp_path / "saved"), subject.sequences[3]), found) <= CLOSE
    assert subject.model.verify_export(out, mask).same


@pytest.mark.parametrize("name", ["gpt2", "neox", "opt", "gemma3", "cohere2", "gpt-oss", "granite"])
def test_text_without_any_attention(name: str, families: FamilySubjects, tmp_path: Path) -> None:
    subject = families(name)
    mask = pc.Mask.remove([f"attn.{block}" for block in range(subject.n_blocks)], subject.n_blocks)
    model = load(opened(subject).export(tmp_path / "out", mask, format="hf_custom"))
    wanted = subject.oracle.run([subject.sequences[3]], mask.keep).logits
    assert far(logits(model, subject.sequences[3]), wanted) <= CLOSE
    check_text(model, subject.sequences[1][:9], 0)


@pytest.mark.parametrize("name", ["gpt2", "neox", "gemma2", "granite", "mixtral", "opt", "phi"])
def test_adapters_that_read_the_hidden_state(
    name: str, families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families(name)
    keep = without(subject, (1, 2))
    adapters = opened(subject).recover(
        keep, subject.data, kind="low_rank", rank=3, input="raw", held_out=subject.data
    )
    model = load(subject.model.export(tmp_path / "out", adapters=adapters))
    prompt = subject.sequences[3]
    with adapters.attach(subject.model) as recovered:
        assert far(logits(model, prompt), recovered.logits(pc.Data([prompt]))) <= CLOSE
    check_text(model, prompt, subject.n_blocks - 1)
    model.save_pretrained(tmp_path / "saved")
    assert far(logits(load(tmp_path / "saved"), prompt), logits(model, prompt)) <= CLOSE


def edit_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("format_", "removed"),
    [("hf_plain", ["block.1"]), ("hf_custom", ["attn.0", "ffn.1"]), ("deci", ["ffn.0", "attn.1"])],
)
def test_factors_of_layer_norm_scaling_are_multiplied_into_the_gains(
    format_: str, removed: list[str], tmp_path: Path
) -> None:
    """What is left is a Llama like any other."""
    subject = FamilySubjects(tmp_path)("llama-lns")
    mask = pc.Mask.remove(removed, subject.n_blocks)
    out = opened(subject).export(tmp_path / "out", mask, format=format_)
    assert "norm_type" not in json.loads((out / "config.json").read_text())
    prompt = subject.sequences[3]
    wanted = subject.model.logits(pc.Data([prompt]), mask)
    assert far(logits(load(out), prompt), wanted) <= CLOSE


def test_norms_after_the_first_sums_are_kept_or_refused(tmp_path: Path) -> None:
    """Mix-LN: transformers has no class for it, and a smaller model has fewer such norms."""
    subject = FamilySubjects(tmp_path)("llama")
    edit_config(subject.directory, norm_type="pre_post", post_num=1)
    file = subject.directory / "model.safetensors"
    tensors = load_file(file)
    first = "model.layers.0"
    tensors[f"{first}.post_feedforward_layernorm.weight"] = torch.full((32,), 1.5)
    save_file(tensors, file, metadata={"format": "pt"})
    model = opened(subject)
    mask = pc.Mask.remove(["block.1"], 3)
    out = model.export(tmp_path / "out", mask)
    data = pc.Data([subject.sequences[3]])
    with pc.open(out, compute="float32") as again:
        assert np.array_equal(again.logits(data), model.logits(data, mask))
    with pytest.raises(pc.UnsupportedError, match=r"the norm of ffn\.0 follows its sum and stays"):
        model.recover(pc.Mask.remove(["ffn.0"], 3), data, kind="bias", held_out=data)
    for removed, format_, words in (
        ("block.0", "hf_plain", r"norm after the sum of attn\.0 [^;]*$"),
        ("attn.1", "hf_custom", "norm_type"),
        ("attn.1", "hf", "norm_type"),
    ):
        with pytest.raises(pc.UnsupportedError, match=words):
            model.export(tmp_path / "no", pc.Mask.remove([removed], 3), format=format_)


def test_adapters_of_parallel_blocks_change_what_the_feed_forward_reads(
    families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families("neox")
    keep = without(subject, (2,))
    adapters = opened(subject).recover(
        keep, subject.data, kind="bias", block_slot="attention", held_out=subject.data
    )
    model = load(subject.model.export(tmp_path / "out", adapters=adapters))
    prompt = subject.sequences[3]

    def bias(hidden: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(adapters.get(2, "bias")).expand_as(hidden)

    wanted = subject.oracle.run_with([prompt], keep, {2: bias}).logits
    assert far(logits(model, prompt), wanted) <= CLOSE
