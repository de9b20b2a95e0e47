# SPDX-License-Identifier: Apache-2.0
"""2SSP against the published algorithm, written down once more for a Llama of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
import torch
import transformers as tf
from two_stage_reference import logits_without, two_stage_reference

VOCABULARY = 97


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, pc.Model]:
    """A tiny Llama of random weights, here and there."""
    config = tf.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=88,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    model = tf.LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.randn(parameter.shape, generator=generator)
            spread = 0.3 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5
            parameter.copy_((parameter if parameter.ndim == 1 else 0) + spread * values)
    directory = tmp_path_factory.mktemp("llama") / "model"
    model.save_pretrained(directory)
    return model.eval(), pc.open(directory, compute="float32")


@pytest.fixture(scope="module")
def samples() -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.integers(0, VOCABULARY, 40).astype(np.int32) for _ in range(5)]


@pytest.mark.parametrize(
    ("sparsity", "more"),
    [(0.25, {}), (0.375, {}), (0.5, {}), (0.3, {"alpha": 4.0}), (0.25, {"remove_attention": 3})],
)
def test_masks_and_widths_are_those_of_the_published_algorithm(
    llama: tuple[Any, pc.Model], samples: list[np.ndarray], sparsity: float, more: dict[str, Any]
) -> None:
    theirs, ours = llama
    wanted = two_stage_reference(
        theirs,
        samples,
        sparsity,
        alpha=more.get("alpha", 1.5),
        n_attention=more.get("remove_attention"),
    )
    found = ours.search(pc.Data(samples), "2ssp", sparsity=sparsity, **more)
    edit = found.mask.edits[0]
    assert edit["kind"] == "narrow"
    assert [edit["feed_forward"][str(block)] for block in range(6)] == wanted.neurons
    assert found.provenance["widths"] == [wanted.width] * 6
    assert found.removed == [f"attn.{block}" for block in sorted(wanted.attention)]
    # In the same order, too.
    assert [step.unit for step in found.path[2:]] == [f"attn.{b}" for b in wanted.attention]
    with ours.edited(found.mask) as narrowed:
        logits = narrowed.logits(pc.Data([samples[0]]), found.mask)
    expected = logits_without(wanted.model, wanted.attention, samples[0]).numpy()
    assert np.abs(logits - expected).max() <= 2e-5 * np.abs(expected).max()


def test_more_sequences_may_measure_the_second_stage(
    llama: tuple[Any, pc.Model], samples: list[np.ndarray]
) -> None:
    theirs, ours = llama
    wanted = two_stage_reference(theirs, samples, 0.5, measured=4)
    found = ours.search(pc.Data(samples), "2ssp", sparsity=0.5, measured_sequences=4)
    assert [step.unit for step in found.path[2:]] == [f"attn.{b}" for b in wanted.attention]
    assert len(wanted.attention) > 0


def test_the_wrapped_module_has_the_same_scores(
    llama: tuple[Any, pc.Model], samples: list[np.ndarray]
) -> None:
    import prunecore.torch

    theirs, ours = llama
    data = pc.Data([samples[0], samples[1][:17], samples[2][:1]])
    mask = pc.Mask.remove(["attn.2", "ffn.4"], 6)
    with prunecore.torch.wrap(theirs) as wrapped:
        for chosen in (None, mask):
            mine, others = ours.neuron_scores(data, chosen), wrapped.neuron_scores(data, chosen)
            assert mine.widths == others.widths
            assert mine.widths[4] == (0 if chosen is mask else 88)
            for metric in pc.NEURON_METRICS:
                for own, other in zip(mine[metric], others[metric], strict=True):
                    np.testing.assert_allclose(own, other, rtol=2e-5)


def test_a_plain_checkpoint_is_narrower(
    llama: tuple[Any, pc.Model], samples: list[np.ndarray], tmp_path: Path
) -> None:
    _, ours = llama
    found = ours.search(pc.Data(samples), "2ssp", sparsity=0.25, remove_attention=0)
    assert found.removed == []
    with ours.edited(found.mask) as narrowed:
        out = narrowed.export(tmp_path / "out", found.mask, format="hf_plain")
        logits = narrowed.logits(pc.Data([samples[1]]))
        assert narrowed.verify_export(out, found.mask).same
    loaded = tf.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    assert type(loaded) is tf.LlamaForCausalLM
    assert loaded.config.intermediate_size == found.provenance["widths"][0] < 88
    with torch.no_grad():
        theirs = loaded(torch.from_numpy(samples[1]).long()[None]).logits[0].numpy()
    assert np.abs(theirs - logits).max() <= 1e-5 * max(1.0, np.abs(theirs).max())
    with pc.open(out, compute="float32") as again:
        assert np.array_equal(again.logits(pc.Data([samples[1]])), logits)
