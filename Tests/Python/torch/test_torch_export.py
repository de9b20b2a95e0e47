# SPDX-License-Identifier: Apache-2.0
"""Exports of wrapped models: run by transformers in a process that has no PruneCore."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")

import fresh_process  # noqa: E402
import torch_models  # noqa: E402
from family_models import CASES, OF_MODULES  # noqa: E402
from family_weights import randomise  # noqa: E402
from prunecore.torch import WrappedModel, wrap  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::prunecore.ContextWarning")

CLOSE = 1e-5  # of the largest logit
TOKENS = np.random.default_rng(5).integers(0, 61, (2, 14))

# Gains beside 1 + w, fused weights, experts, heads of their own; modules that give the sum, tuples,
# norms of sums and of both sublayers; whole blocks, with patterns; a decoder in another model.
TAKEN_APART = (
    *("gemma3", "gpt2", "mixtral", "gpt-oss", "opt-post-norm"),
    *("stablelm-parallel", "falcon-one-norm", "bloom", "mpt", "gpt-neo", "hunyuan"),
)
WHOLE = ("deepseek", "jamba")
PICTURES = "gemma3-pictures"
# Dense and mixtures, shared experts, biases, norms after the update, modules that give the sum.
ZEROED = (
    *("gemma3", "gpt2", "mixtral", "gpt-oss", "granitemoe-shared", "opt-post-norm"),
    *("falcon-one-norm", "bloom", "jamba"),
)
# With lists and patterns over the numbers of blocks.
PLAIN = ("gemma3", "qwen2-moe-dense-layers", "gpt-neo", "bloom")
KINDS = ("low_rank", "linear", "bias")
RAW = ("deepseek", "jamba", "opt-post-norm")  # without norms before, or that anybody knows


def module_of(name: str) -> Any:
    """A small random model, the same one every time."""
    if name in torch_models.OTHERS:
        return torch_models.tiny(name, attention="eager")
    if name in CASES or name in OF_MODULES:
        case = {**CASES, **OF_MODULES}[name]
        config = tf.AutoConfig.for_model(case.model_type, **case.configuration)
    else:
        config = {"jamba": _jamba, PICTURES: _pictures}[name]()
    model = tf.AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    )
    if name not in (PICTURES, "jamba"):
        randomise(model)
    return model.eval()


def _jamba() -> Any:
    mamba = {"mamba_d_state": 8, "mamba_dt_rank": 4}
    layers = {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1}
    return tf.JambaConfig(**torch_models._GROUPED, **mamba, **layers, initializer_range=0.3)


def _pictures() -> Any:
    types = ["sliding_attention", "full_attention"] * 2
    text = {**torch_models._GROUPED, "head_dim": 8, "sliding_window": 6, "layer_types": types}
    vision = {
        **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "image_size": 28, "patch_size": 14},
    }
    return tf.Gemma3Config(
        text_config={**text, "initializer_range": 0.3},
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=90,
        boi_token_index=91,
        eoi_token_index=92,
    )


@dataclass
class Found:
    """An export, what the pruned model computes, and what the other process made of the export."""

    place: Path
    logits: np.ndarray
    written: np.ndarray
    difference: float

    def check(self) -> None:
        found = np.load(self.place / "found.npz")
        apart = np.abs(found["logits"].reshape(self.logits.shape) - self.logits).max()
        assert apart < CLOSE * np.abs(self.logits).max()
        assert found["written"].tolist() == self.written.tolist()
        assert self.difference < CLOSE  # in this process, by verify_export


def masks(model: WrappedModel) -> dict[str, list[str]]:
    """What is removed for each format."""
    if model.granularity == "block":
        return {"hf_custom": ["block.1"], "zeroed": ["block.1"]}
    last = model.shape.n_blocks - 1
    return {
        "hf_custom": ["ffn.0", "block.1", f"attn.{last}"],
        "zeroed": ["attn.0", "ffn.1", f"block.{last}"],
    }


def exported(name: str, place: Path, format_: str, number: int, module: Any) -> Found:
    """One export, with what it is to be compared with."""
    data = pc.Data(TOKENS)
    with wrap(module) as model:
        removed = ["block.1"] if format_ == "hf_plain" else masks(model)[format_]
        mask = pc.Mask.remove(removed, model.shape.n_blocks)
        adapters = None
        if format_ == "hf_custom":
            kind = KINDS[number % len(KINDS)]
            adapters = model.recover(mask, data, kind, 3, input="raw" if name in RAW else "normed")
            assert 0 < len(adapters) <= len(mask.removed)
        path = model.export(place / "export", mask, adapters, format=format_)
        checked = model.verify_export(path, adapters=adapters, data=data)
        assert checked.same and checked.format == format_, checked.findings
        if adapters is None:
            logits = model.logits(data, mask)
        else:
            with adapters.attach(model) as recovered:
                logits = recovered.logits(data)
        written = model.generate(
            torch.from_numpy(TOKENS[:1, : fresh_process.PROMPT]),
            mask=mask,
            adapters=adapters,
            max_new_tokens=fresh_process.NEW,
            do_sample=False,
            pad_token_id=0,
        )
    assert checked.difference is not None
    return Found(place, np.asarray(logits), written.numpy(), checked.difference)


CASES_OF_FORMATS = (
    *(("hf_custom", name) for name in (*TAKEN_APART, *WHOLE, PICTURES)),
    *(("zeroed", name) for name in ZEROED),
    *(("hf_plain", name) for name in PLAIN),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Found | Exception]:
    """Every export, after another process has run them all."""
    folder = tmp_path_factory.mktemp("exports")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    modules: dict[str, Any] = {}
    made: dict[tuple[str, str], Found | Exception] = {}
    for number, (format_, name) in enumerate(CASES_OF_FORMATS):
        ending = "-trusted" if format_ == "hf_custom" else ""
        place = folder / f"{format_}-{name}{ending}"
        place.mkdir()
        module = modules[name] if name in modules else modules.setdefault(name, module_of(name))
        np.save(place / "tokens.npy", TOKENS)
        try:
            made[format_, name] = exported(name, place, format_, number, module)
        except Exception as error:  # the test of that export raises it
            made[format_, name] = error
            (place / "tokens.npy").unlink()
            place.rename(folder.parent / f"{folder.name}-{place.name}-failed")
    fresh_process.load_all(folder)
    torch.set_num_threads(threads)
    return made


@pytest.mark.parametrize(("format_", "name"), CASES_OF_FORMATS)
def test_exports_run_elsewhere(
    format_: str, name: str, found: dict[tuple[str, str], Found | Exception]
) -> None:
    one = found[format_, name]
    if isinstance(one, Exception):
        raise one
    one.check()
