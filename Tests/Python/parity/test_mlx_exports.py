# SPDX-License-Identifier: Apache-2.0
"""Exports compute in mlx-lm what the library does: at one go, and over its cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from family_case import Case
from family_exports import without
from family_models import CASES, write_case
from family_subjects import FamilySubjects

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: pip install 'mlx[cpu]' mlx-lm")
import mlx.core as mx  # noqa: E402
from mlx_lm.models.cache import make_prompt_cache  # noqa: E402
from mlx_lm.utils import load_model  # noqa: E402
from prunecore.export.mlx_runtime import MLX  # noqa: E402

CLOSE = 1e-4
ROTARY = ("llama-linear", "llama-dynamic", "llama-yarn", "llama-llama3", "llama-proportional")
# What mlx-lm computes as transformers does, if it finds the rotary keys that it reads.
PLAIN = (
    *ROTARY,
    "qwen3",
    "smollm3",
    "phi",
    "phi3-longrope",
    "olmo2",
    "stablelm",
    "cohere",
    "granite",
    "glm4",
    "nemotron",
    "ernie4_5",
    "seed-oss",
    "helium",
    "qwen2-moe",
    "olmoe",
    "granitemoe",
)
MASK = ("attn.0", "attn.3", "ffn.7", "block.9")
"""Of tales-12l."""


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> FamilySubjects:
    return FamilySubjects(tmp_path_factory.mktemp("families"))


def length(values: np.ndarray) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))


def at_one_go(out: Path, tokens: np.ndarray) -> np.ndarray:
    return MLX(out).logits(tokens)


def over_the_cache(out: Path, tokens: np.ndarray) -> np.ndarray:
    """Two parts of a prompt, then a token at a time."""
    model: Any = load_model(out)[0]
    model.set_dtype(mx.float32)
    cache = make_prompt_cache(model)
    ends = [5, *range(len(tokens) - 6, len(tokens) + 1)]
    parts = [
        np.array(model(mx.array(tokens[begin:end].astype(np.int32)[None]), cache=cache)[0])
        for begin, end in zip([0, *ends], ends, strict=False)
    ]
    return np.concatenate(parts)


def check(out: Path, model: pc.Model, tokens: np.ndarray, mask: pc.Mask | None = None) -> None:
    wanted = model.logits(pc.Data([tokens]), mask)
    for run in (at_one_go, over_the_cache):
        assert length(run(out, tokens) - wanted) <= CLOSE * length(wanted), run.__name__


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 2048, 40)


def test_a_real_model_in_three_formats(
    model: pc.Model, tales_dir: Path, tokens: np.ndarray, tmp_path: Path
) -> None:
    text = pc.Data.from_text(tales_dir / "stories.jsonl", model, 64)[:6]
    blocks = pc.Mask.remove(["block.2", "block.11"], 12)
    check(model.export(tmp_path / "plain", blocks, format="hf_plain"), model, tokens, blocks)
    mask = pc.Mask.remove(MASK, 12)
    check(model.export(tmp_path / "none", mask, format="mlx"), model, tokens, mask)
    removed = pc.Mask.remove(["attn.3", "ffn.7", "block.9"], 12)
    for kind, options in (("bias", {}), ("low_rank", {"rank": 8}), ("linear", {})):
        adapters = model.recover(removed, text, kind, block_slot="both", held_out=text, **options)
        out = model.export(tmp_path / kind, adapters=adapters, format="mlx")
        with adapters.attach(model) as recovered:
            check(out, recovered, tokens)
        found = model.verify_export(out, adapters=adapters)
        assert (found.same, found.format) == (True, "mlx")
        assert found.runtime.startswith("mlx-lm ")
    record = json.loads((out / "prunecore.json").read_text())
    assert record["notes"]["feed_forward_size"] == {"model": 352, "with_zeros": 512}
    assert not list(out.glob("*.py"))


def test_the_base_of_today_s_files_is_read_in_every_format(tmp_path: Path) -> None:
    """mlx-lm reads rope_theta alone, and 100000 is the default of none of its models."""
    rope = {"rope_type": "default", "rope_theta": 100_000.0}
    # A width that ffn_mult says, which mlx-lm reads in deci, too.
    sizes = {"intermediate_size": 256, "rope_parameters": rope}
    write_case(Case("theta", "Llama", "llama", sizes), tmp_path / "model")
    with pc.open(tmp_path / "model", compute="float32") as model:
        tokens = np.random.default_rng(5).integers(0, model.shape.vocabulary_size, 40)
        for format_, removed in (("hf_plain", "block.1"), ("deci", "attn.1"), ("mlx", "attn.1")):
            mask = pc.Mask.remove([removed], model.shape.n_blocks)
            out = model.export(tmp_path / format_, mask, format=format_)
            check(out, model, tokens, mask)
            found = model.verify_export(out, mask)
            assert found.same
            if format_ != "mlx":
                assert found.others[0].runtime.startswith("mlx-lm ")
                assert found.others[0].difference is not None
                assert found.others[0].difference < CLOSE
            # Without the older key, another model is computed, and found to be.
            config = json.loads((out / "config.json").read_text())
            del config["rope_theta"]
            (out / "config.json").write_text(json.dumps(config))
            wanted = model.logits(pc.Data([tokens]), mask)
            assert length(at_one_go(out, tokens) - wanted) > 100 * CLOSE * length(wanted)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_checkpoints_of_families(name: str, families: FamilySubjects, tmp_path: Path) -> None:
    subject = families(name)
    mask = pc.Mask.remove(["block.1"], subject.n_blocks)
    out = subject.model.export(tmp_path / "out", mask, format="hf_plain")
    tokens = subject.sequences[5][:15]
    wanted = subject.model.logits(pc.Data([tokens]), mask)
    if name == "phi3-longrope":
        tokens = subject.sequences[5]  # beyond the first context, where long factors are right
        wanted = subject.model.logits(pc.Data([tokens]), mask)
    assert length(at_one_go(out, tokens) - wanted) <= CLOSE * length(wanted)


@pytest.mark.parametrize("name", ["mistral", "glm"])
def test_what_mlx_lm_makes_of_plain_checkpoints_is_told_and_no_finding(
    name: str, families: FamilySubjects, tmp_path: Path
) -> None:
    """It ignores windows, and turns whole heads: of the whole model, too."""
    subject = families(name)
    out = subject.model.export(tmp_path / "out", format="hf_plain")
    found = subject.model.verify_export(out, data=subject.data)
    assert (found.same, found.findings) == (True, [])
    assert found.others[0].difference is not None
    assert found.others[0].difference > 0.01
    assert json.dumps(found.to_dict())


@pytest.mark.parametrize("name", ["llama-biases", "llama-lns", *ROTARY])
def test_rules_and_biases_in_nemotron_nas(
    name: str, families: FamilySubjects, tmp_path: Path
) -> None:
    subject = families(name)
    keep = without(subject, (1, 2))
    adapters = subject.model.recover(
        keep, subject.data, kind="linear", ridge=0.1, block_slot="both", held_out=subject.data
    )
    out = subject.model.export(tmp_path / "out", adapters=adapters, format="mlx")
    tokens = subject.sequences[5][:15]
    with adapters.attach(subject.model) as recovered:
        check(out, recovered, tokens)


def test_what_mlx_lm_does_not_compute_is_refused(
    model: pc.Model, tales_dir: Path, families: FamilySubjects, tmp_path: Path
) -> None:
    text = pc.Data.from_text(tales_dir / "stories.jsonl", model, 64)[:4]

    def refuse(words: str, subject: pc.Model, *removed: str, **recovery: Any) -> None:
        mask = pc.Mask.remove(removed, subject.shape.n_blocks)
        adapters = subject.recover(mask, text, held_out=text, **recovery) if recovery else None
        with pytest.raises(pc.UnsupportedError, match=words):
            subject.export(tmp_path / "out", None if adapters else mask, adapters, format="mlx")

    refuse(r"attn\.3 reads the hidden state itself.*input \"normed\".*hf_custom can", model,
           "attn.3", kind="low_rank", rank=2, input="raw")  # fmt: skip
    refuse(r"attn\.0 is a bias, and nothing is left before", model, "attn.0", kind="bias")
    refuse("no attention is left", model, *(f"attn.{block}" for block in range(12)))
    refuse("longrope", families("llama-longrope").model, "attn.1")
    refuse("norms of queries and keys", families("qwen3").model, "attn.1")
    assert set(PLAIN) <= set(CASES)
