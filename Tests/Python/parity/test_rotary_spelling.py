# SPDX-License-Identifier: Apache-2.0
"""Exports declare rotary embeddings in both spellings of config.json, and either alone is enough.

Runtimes that read one of them compute another model where it is missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest
import torch
from family_case import VOCABULARY, Case
from family_exports import far
from family_models import CASES, write_case, write_family
from family_norms import load_family
from family_oracle import forget_longer_sequences

CLOSE = 5e-5
OLD = ("rope_theta", "rope_scaling", "partial_rotary_factor", "rope_local_base_freq")
OLD_NEOX = ("rotary_emb_base", "rotary_pct")
SPELLED = (
    "llama",
    "llama-linear",
    "llama-dynamic",
    "llama-yarn",
    "llama-longrope",
    "llama-llama3",
    "llama-proportional",
    "gemma3",
    "olmo3",
    "phi3-longrope",
    "phi3-partial",
    "phi",
    "neox",
    "glm4",
    "stablelm",
    "gpt-oss",
    "cohere2",
)


def config_of(directory: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return read


def edit(directory: Path, config: dict[str, Any]) -> None:
    (directory / "config.json").write_text(json.dumps(config))


def run(directory: Path) -> Any:
    model = load_family(directory)
    forget_longer_sequences(model)
    ids = torch.arange(31)[None] * 7 % VOCABULARY
    with torch.inference_mode():
        return model(ids, use_cache=False).logits[0].numpy()


@pytest.mark.parametrize("name", SPELLED)
def test_each_spelling_alone_computes_the_model(name: str, tmp_path: Path) -> None:
    write_family(name, tmp_path / "model")
    with pc.open(tmp_path / "model", compute="float32") as model:
        out = model.export(tmp_path / "out", format="hf_plain")
    wanted = run(tmp_path / "model")
    both = config_of(out)
    assert far(run(out), wanted) <= CLOSE
    edit(out, {key: value for key, value in both.items() if key != "rope_parameters"})
    assert far(run(out), wanted) <= CLOSE
    with pc.open(out, compute="float32") as old:
        ids = (torch.arange(31) * 7 % VOCABULARY).numpy()
        assert far(old.logits(pc.Data([ids])), wanted) <= CLOSE
    if "rope_parameters" in both:
        edit(out, {key: value for key, value in both.items() if key not in OLD + OLD_NEOX})
        assert far(run(out), wanted) <= CLOSE


def test_the_older_spelling_is_that_of_the_readers(tmp_path: Path) -> None:
    """mlx-lm, SGLang and vLLM take these members by these names."""

    def exported(name: str) -> dict[str, Any]:
        write_family(name, tmp_path / name)
        with pc.open(tmp_path / name) as model:
            return config_of(model.export(tmp_path / f"{name}-out", format="hf_plain"))

    plain = exported("llama")
    assert plain["rope_theta"] == plain["rope_parameters"]["rope_theta"]
    assert plain["rope_scaling"] is None
    llama3 = exported("llama-llama3")
    scaling = dict(llama3["rope_parameters"])
    assert llama3["rope_theta"] == scaling.pop("rope_theta") == 5000.0
    assert llama3["rope_scaling"] == scaling | {"type": "llama3", "rope_type": "llama3"}
    long = exported("llama-longrope")["rope_scaling"]
    assert {"type", "rope_type", "factor", "original_max_position_embeddings"} <= set(long)
    gemma = exported("gemma3")
    assert (gemma["rope_theta"], gemma["rope_local_base_freq"]) == (100000.0, 1000.0)
    assert gemma["rope_scaling"]["type"] == gemma["rope_scaling"]["rope_type"] == "linear"
    neox = exported("neox")
    assert neox["rotary_emb_base"] == neox["rope_parameters"]["rope_theta"]
    assert neox["rotary_pct"] == neox["rope_parameters"]["partial_rotary_factor"]
    # Versions of transformers before 5 refuse any other member.
    phi3 = exported("phi3-longrope")["rope_scaling"]
    assert set(phi3) == {"type", "short_factor", "long_factor"}
    assert "rope_theta" not in exported("gpt2")


def test_what_the_older_spelling_cannot_say_is_left_as_it_is(tmp_path: Path) -> None:
    """One base for two kinds of blocks, where these have two."""
    case = CASES["olmo3"]
    rope = json.loads(json.dumps(case.fields["rope_parameters"]))
    rope["sliding_attention"]["rope_theta"] = 1000.0
    different = Case(
        "olmo3", case.family, case.model_type, {**case.fields, "rope_parameters": rope}
    )
    write_case(different, tmp_path / "model")
    with pc.open(tmp_path / "model", compute="float32") as model:
        out = model.export(tmp_path / "out", format="hf_plain")
    assert not {"rope_theta", "rope_scaling"} & set(config_of(out))
    assert far(run(out), run(tmp_path / "model")) <= CLOSE
