# SPDX-License-Identifier: Apache-2.0
"""`prunecore.torch.wrap`: every architecture computes what transformers computes, mask and all."""

from __future__ import annotations

from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from prunecore.torch import wrap  # noqa: E402
from torch_models import (  # noqa: E402
    BLOCKS,
    CONFIGURATIONS,
    OTHERS,
    VOCABULARY,
    own_logits,
    random_masks,
    sequences,
    skipping,
    skipping_blocks,
    tiny,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CLOSE = 1e-5


def data() -> pc.Data:
    return pc.Data(sequences())


def apart(found: Any, wanted: Any) -> float:
    """Largest difference, relative to the largest value."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_logits_with_and_without_sublayers(name: str) -> None:
    module = tiny(name, attention="eager" if name == "gemma2" else "sdpa")
    with wrap(module) as model:
        assert model.granularity == "sublayer"
        assert apart(model.logits(data()), own_logits(module, sequences())) < CLOSE
        for keep in random_masks(4):
            with skipping(module, name, keep):
                wanted = own_logits(module, sequences())
            assert apart(model.logits(data(), keep), wanted) < CLOSE
        assert model.live_states == 0


@pytest.mark.parametrize("name", ["llama", "gemma3", "opt", "gpt_neox"])
def test_wrap_computes_with_eager_attention(name: str) -> None:
    module = tiny(name, attention="eager")
    keep = random_masks(1)[0] | 1
    keep[3] = 0
    with wrap(module) as model, skipping(module, name, keep):
        wanted = own_logits(module, sequences())
        # Several states are computed together, whose masks then are of several sequences, too.
        assert apart(model.logits(data(), keep), wanted) < CLOSE
        alone = model.evaluate(data(), keep).loss
        both = model.damages(data(), [keep, np.ones(2 * BLOCKS)]).values
        assert both[0] == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("name", OTHERS)
def test_whole_blocks_of_architectures_that_are_not_known(name: str) -> None:
    module = tiny(name)
    with wrap(module) as model:
        assert model.granularity == "block"
        assert apart(model.logits(data()), own_logits(module, sequences())) < CLOSE
        masks = random_masks(3, whole_blocks=True)
        for keep in masks:
            with skipping_blocks(module, keep):
                wanted = own_logits(module, sequences())
            assert apart(model.logits(data(), keep), wanted) < CLOSE
        losses = [model.evaluate(data(), keep).loss for keep in masks]
        np.testing.assert_allclose(model.damages(data(), masks).values, losses, rtol=1e-6)
        scores = model.score(data(), ["cosine", "leave_one_out_loss"], "block")
        assert len(scores.prune(1, metric="cosine").removed) == 2
        half = np.ones(2 * BLOCKS)
        half[1] = 0
        with pytest.raises(pc.Error, match="block"):
            model.evaluate(data(), half)
    with pytest.raises(pc.UnsupportedError, match="granularity='block'"):
        wrap(module, granularity="sublayer")


@pytest.mark.parametrize("name", ["llama", "falcon"])
def test_blocks_of_a_known_architecture(name: str) -> None:
    module = tiny(name, attention="eager")
    masks = random_masks(3, whole_blocks=True)
    with wrap(module, granularity="block") as model:
        assert model.granularity == "block"
        for keep in masks:
            with skipping_blocks(module, keep):
                wanted = own_logits(module, sequences())
            assert apart(model.logits(data(), keep), wanted) < CLOSE
        losses = [model.evaluate(data(), keep).loss for keep in masks]
        np.testing.assert_allclose(model.damages(data(), masks).values, losses, rtol=1e-6)


@pytest.mark.parametrize("name", ["qwen2", "gpt2"])
def test_wrap_keeps_bfloat16(name: str) -> None:
    module = tiny(name, torch.bfloat16)
    with wrap(module) as model:
        assert model.shape.element_type == "bf16"
        # The same operations, but sequences are padded: products may be summed in another order.
        assert apart(model.logits(data()), own_logits(module, sequences())) < 3e-2
        lengths = pc.Data(sequences((11, 11, 11)))
        batch = torch.from_numpy(np.stack(sequences((11, 11, 11))))
        with torch.no_grad():
            wanted = module(batch, use_cache=False).logits.float().flatten(0, 1)
        assert apart(model.logits(lengths), wanted) < 1e-2
        wide = tiny(name)
        wide.load_state_dict(module.state_dict())
        with wrap(wide) as exact:
            loss = exact.evaluate(data()).loss
        assert model.evaluate(data()).loss == pytest.approx(loss, rel=5e-3)


def test_positions_that_depend_on_the_length_of_a_sequence() -> None:
    """Where rotary factors change beyond a length, a short sequence must not see a long one's."""
    import transformers

    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
    module = tiny("llama")
    settings = module.config.to_dict() | {"rope_parameters": rope, "max_position_embeddings": 8}
    stretched = transformers.AutoModelForCausalLM.from_config(
        transformers.LlamaConfig(**settings)
    ).eval()
    stretched.load_state_dict(module.state_dict())
    lengths = (7, 16, 13, 7)
    with wrap(stretched) as model:
        found = model.logits(pc.Data(sequences(lengths)))
        alone = []
        for ids in sequences(lengths):
            fresh = transformers.AutoModelForCausalLM.from_config(stretched.config).eval()
            fresh.load_state_dict(module.state_dict())
            alone.append(own_logits(fresh, [ids]))
        assert apart(found, torch.cat(alone)) < CLOSE


def test_wrapped_model_says_what_it_is() -> None:
    module = tiny("mistral", torch.float16)
    with wrap(module, name="mine") as model:
        shape, parameters = model.shape, sum(p.numel() for p in module.parameters())
        assert (shape.architecture, shape.element_type) == ("MistralForCausalLM", "fp16")
        assert (shape.n_blocks, shape.hidden_size) == (BLOCKS, 32)
        assert (shape.vocabulary_size, shape.context_length) == (VOCABULARY, 64)
        attention, feed_forward = model.sublayers[:2]
        layer = module.model.layers[0]
        assert feed_forward.parameters == 3 * 32 * 56 + 32
        assert attention.parameters == sum(p.numel() for p in layer.self_attn.parameters()) + 32
        assert attention.kv_bytes == 2 * 2 * 8 * 2
        assert attention.window == 6
        nothing = model.cost(np.zeros(2 * BLOCKS))
        assert nothing.parameters == 2 * VOCABULARY * 32 + 32
        assert model.cost(np.ones(2 * BLOCKS)).parameters == parameters
        assert model.provenance["name"] == "mine"
        assert len(model.provenance["config_sha256"]) == 64


def test_wrap_refuses_what_it_cannot_split() -> None:
    module = tiny("llama")
    with pytest.raises(pc.ArgumentError, match="causal language model"):
        wrap(torch.nn.Linear(2, 2))
    with pytest.raises(pc.ArgumentError, match="granularity"):
        wrap(module, granularity="layer")  # type: ignore[arg-type]
    with pytest.raises(pc.UnsupportedError, match="offloaded"):
        wrap(tiny("llama").to("meta"))
    module.train()
    with pytest.raises(pc.ArgumentError, match=r"eval\(\)"):
        wrap(module)
    module.eval()
    with wrap(module) as model:
        module.model.layers[2].train()
        with pytest.raises(pc.ArgumentError, match=r"eval\(\)"):
            model.evaluate(data())
        module.eval()
        assert model.evaluate(data()).loss > 0
        with pytest.raises(pc.Error, match="vocabulary"):
            model.evaluate(pc.Data([[1, VOCABULARY]]))
        assert model.live_states == 0


def test_layers_that_compute_something_else_are_found_out() -> None:
    """A class of a known name whose layers do more than is known of them."""
    module = tiny("llama")
    layer = module.model.layers[1]
    forward = layer.forward
    layer.forward = lambda *inputs, **named: 1.1 * forward(*inputs, **named)
    with pytest.raises(pc.UnsupportedError, match="differ"):
        wrap(module)
    with wrap(module, granularity="block") as model:
        assert apart(model.logits(data()), own_logits(module, sequences())) < CLOSE


def test_weights_may_change_between_calls() -> None:
    module = tiny("qwen3")
    with wrap(module) as model:
        before = model.evaluate(data()).loss
        with torch.no_grad():
            module.model.layers[0].mlp.down_proj.weight.mul_(3)
        after = model.evaluate(data()).loss
        assert abs(after - before) > 1e-3
        assert apart(model.logits(data()), own_logits(module, sequences())) < CLOSE


def test_wrapped_model_computes_in_two_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    module = tiny("gpt_neox")
    masks = random_masks(6)
    with wrap(module, granularity="block") as blocks, wrap(module) as model:
        wanted = [model.evaluate(data(), keep).loss for keep in masks]
        whole = blocks.evaluate(data()).loss

        def work(index: int) -> tuple[float, float]:
            return model.evaluate(data(), masks[index % 6]).loss, blocks.evaluate(data()).loss

        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(work, range(24)))
        np.testing.assert_allclose([f[0] for f in found], wanted * 4, rtol=1e-6)
        np.testing.assert_allclose([f[1] for f in found], whole, rtol=1e-6)
        assert model.live_states == blocks.live_states == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_wrap_computes_on_a_gpu(name: str) -> None:
    module = tiny(name, attention="eager" if name == "gemma2" else "sdpa")
    masks = random_masks(3)
    with wrap(module) as model:
        wanted = [model.logits(data(), keep) for keep in masks]
        scores = model.score(data(), ["cosine", "leave_one_out_loss"])
        slopes = model.gradient(data(), "ce", 1, masks[0]).values
    with wrap(module.to("cuda")) as model:
        for keep, own in zip(masks, wanted, strict=True):
            assert apart(model.logits(data(), keep), own) < 1e-3
        found = model.score(data(), ["cosine", "leave_one_out_loss"])
        for metric in ("cosine", "leave_one_out_loss"):
            np.testing.assert_allclose(found[metric], scores[metric], rtol=1e-2, atol=1e-3)
        assert apart(model.gradient(data(), "ce", 1, masks[0]).values, slopes) < 1e-2
        assert model.live_states == 0
