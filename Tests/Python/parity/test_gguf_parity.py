# SPDX-License-Identifier: Apache-2.0
"""GGUF exports of every architecture, run as llama.cpp runs them, against our own logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from gguf_cases import CASES, Case
from gguf_decoder import GGUFDecoder
from prunecore.export.gguf import export_gguf
from prunecore.export.gguf.graphs import DECI
from prunecore.export.gguf.plan_reading import read_plan
from prunecore.export.gguf.rotary import TurnedLayer, say
from random_models import CHECKPOINTS
from subjects import Subject, Subjects
from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

NAMES = [name for name in CHECKPOINTS if name.endswith("float32")]
# Its rotary rule goes by name there, which only llama.cpp computes: make verify-llama-cpp.
NAMED_YARN = "qwen2-old-window-yarn-float32"


def adapters_for(subject: Subject, mask: pc.Mask, kind: str) -> pc.Adapters | None:
    """Closed-form adapters, from the subject's own texts."""
    if not kind:
        return None
    rank = {"rank": 4} if kind == "low_rank" else {}
    return subject.model.recover(mask, subject.data, kind, ridge=1e-3, **rank)


# Every case once; of the other checkpoints those in which most comes together.
SUBJECTS = [("llama-biases-float32", case) for case in CASES] + [
    (name, case)
    for name in ("tales-12l", *NAMES)
    for case in CASES
    if case.name in ("whole blocks", "a bit of all", "linear in the places of blocks")
]


@pytest.mark.parametrize(("name", "case"), SUBJECTS, ids=lambda part: getattr(part, "name", part))
def test_the_file_computes_what_the_model_does(
    name: str, case: Case, subjects: Subjects, tmp_path: Path
) -> None:
    subject = subjects(name)
    model = subject.model
    mask = pc.Mask.remove(case.names(subject.n_blocks), subject.n_blocks)
    adapters = adapters_for(subject, mask, case.adapters)
    path = tmp_path / "model.gguf"
    if name.startswith("qwen3") and (case.architecture == "deci" or case.adapters):
        with pytest.raises(pc.UnsupportedError, match=r"qwen3.*format='hf'"):
            export_gguf(model, path, mask, adapters, "F32")
        return
    if name.startswith("qwen3-layer-types"):
        with pytest.raises(pc.UnsupportedError, match="output biases"):
            export_gguf(model, path, mask, adapters, "F32")
        return
    made = export_gguf(model, path, mask, adapters, "F32")
    decoder = GGUFDecoder(path)
    if name.startswith(("llama", "mistral", "tales")):
        assert made.architecture == case.architecture
    if name == NAMED_YARN and made.architecture == "qwen2":
        assert decoder.key("rope.scaling.type") == "yarn"
        assert decoder.key("rope.scaling.factor") == 4.0
        assert decoder.key("rope.scaling.original_context_length") == 128
        return
    limit = min([97, *(s.window for s in model.sublayers if s.window)])
    tokens = max(subject.sequences, key=len)[:limit]
    ours = model if adapters is None else adapters.attach(model)
    wanted = ours.logits(pc.Data(tokens), None if adapters else mask)
    found = decoder.logits(tokens)
    assert np.linalg.norm(found - wanted) < 2e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_rotary_rules_are_those_of_transformers(name: str, subjects: Subjects) -> None:
    subject = subjects(name)
    config = AutoConfig.from_pretrained(subject.directory)
    turning = read_plan(subject.model).attention(0)[1].turning
    assert turning is not None
    made = say(DECI, [TurnedLayer(turning, None)], subject.model.shape.head_size)
    kind = config.rope_parameters["rope_type"]
    if kind == "default":
        assert set(made.keys) == {"rope.dimension_count", "rope.freq_base"}
        assert not made.tensors
        return
    plain = turning.base ** -(np.arange(0, turning.size, 2) / turning.size)
    wanted, factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu")
    found = plain / made.tensors["rope_freqs.weight"]
    np.testing.assert_allclose(found, wanted.numpy(), rtol=2e-6)
    assert made.keys.get("rope.scaling.attn_factor", 1.0) == pytest.approx(factor, rel=1e-12)


def test_gguf_of_a_windowed_model_limits_its_context(subjects: Subjects, tmp_path: Path) -> None:
    model = subjects("qwen2-window-float32").model
    windows = {s.block: s.window for s in model.sublayers if s.window}
    assert windows == {2: 31, 3: 31}
    made = export_gguf(model, tmp_path / "a.gguf", dtype="F32")
    assert GGUFDecoder(made.path).key("context_length") == made.context_length == 31
    assert "31 tokens" in made.notes[0]
    # Without the windowed attention nothing is cut.
    made = export_gguf(model, tmp_path / "b.gguf", pc.Mask.remove(["attn.2", "attn.3"], 4))
    assert made.context_length == model.shape.context_length


@pytest.mark.parametrize("dtype", ["auto", "F16", "BF16", "Q8_0"])
def test_gguf_of_every_type_of_numbers_is_near_the_model(
    dtype: str, subjects: Subjects, tmp_path: Path
) -> None:
    subject = subjects("llama-llama3-bfloat16")
    made = export_gguf(subject.model, tmp_path / "m.gguf", pc.Mask.remove("attn.1", 4), dtype=dtype)
    decoder = GGUFDecoder(made.path)
    wanted = {"auto": "BF16"}.get(dtype, dtype)
    for tensor, values in decoder.tensors.items():
        # Rows of 168 are not whole blocks of Q8_0; those of 64 and 32 are.
        fits = dtype != "Q8_0" or values.shape[-1] % 32 == 0
        kind = "F32" if values.ndim == 1 else wanted if fits else "F16"
        assert decoder.types[tensor].name == kind, tensor
    tokens = max(subject.sequences, key=len)[:64]
    ours = subject.model.logits(pc.Data(tokens), pc.Mask.remove("attn.1", 4))
    bound = {"auto": 2e-5, "BF16": 2e-5, "F16": 1e-3, "Q8_0": 5e-2}[dtype]
    assert np.linalg.norm(decoder.logits(tokens) - ours) < bound * np.linalg.norm(ours)
