# SPDX-License-Identifier: Apache-2.0
"""Sublayers taken out of a PyTorch model in place: logits, cache, generation, and all put back."""

from __future__ import annotations

from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from prunecore.torch import AdapterModule, wrap  # noqa: E402
from torch_models import (  # noqa: E402
    BLOCKS,
    CONFIGURATIONS,
    OTHERS,
    layers,
    own_logits,
    random_masks,
    sequences,
    tiny,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def eager(name: str) -> Any:
    return tiny(name, attention="eager")


def written(module: Any, cache: bool) -> Any:
    """What the model writes after a prompt that is longer than its window, and its cache."""
    prompt = torch.from_numpy(sequences()[1])[None]
    return module.generate(
        prompt, max_new_tokens=10, do_sample=False, use_cache=cache, return_dict_in_generate=True,
        pad_token_id=0,
    )  # fmt: skip


def everything(module: Any) -> tuple[Any, ...]:
    """What must be as it was: modules and their order, parameters, configuration."""
    return (
        [(name, id(part)) for name, part in module.named_modules()],
        [(name, id(part)) for name, part in module.named_parameters()],
        module.config.to_json_string(),
        module.generation_config.to_json_string(),
        [getattr(part, "layer_idx", None) for part in module.modules()],
        ["forward" in vars(part) for part in module.modules()],
    )


def masks_of(name: str) -> list[Any]:
    whole = name in OTHERS
    masks = list(random_masks(3, whole))
    if not whole:
        # The attention of one type alone: all that slide, or all that do not, and all at once.
        for kinds in ((0, 2), (1, 3), (0, 1, 2, 3)):
            keep = np.ones(2 * BLOCKS, dtype=np.uint8)
            keep[[2 * block for block in kinds]] = 0
            masks.append(keep)
    return masks


@pytest.mark.parametrize("name", [*CONFIGURATIONS, *OTHERS])
def test_mask_applied_to_a_module_is_undone(name: str) -> None:
    module = eager(name)
    model = wrap(module)
    before, logits = everything(module), own_logits(module, sequences())
    for keep in masks_of(name):
        wanted = model.logits(pc.Data(sequences()), keep)
        with model.apply_mask(keep):
            np.testing.assert_allclose(own_logits(module, sequences()), wanted, atol=2e-5)
            kept_blocks = np.count_nonzero(keep[::2] | keep[1::2])
            assert len(layers(module)) == (BLOCKS if name == "opt-norm-last" else kept_blocks)
            kept = {id(part) for part in module.parameters()}
            plain, cached = written(module, False), written(module, True)
            assert torch.equal(plain.sequences, cached.sequences)
            if (cache := cached.past_key_values) is not None:
                used = [layer.get_seq_length() for layer in cache.layers]
                assert [length for length in used if length] == [26] * int(keep[::2].sum())
            else:
                assert not keep[::2].any()
        assert everything(module) == before
        assert torch.equal(own_logits(module, sequences()), logits)
        gone = sum(part.numel() for part in module.parameters() if id(part) not in kept)
        lost = [s.parameters for s, k in zip(model.sublayers, keep, strict=True) if not k]
        assert gone == sum(lost)
    model.close()


def test_removed_modules_are_not_run() -> None:
    module = eager("gemma3")
    keep = random_masks(1)[0] | 1
    keep[[2, 5, 6, 7]] = 0
    calls: list[str] = []
    hooks = [
        part.register_forward_hook(lambda _m, _i, _o, name=name: calls.append(name))
        for name, part in module.named_modules()
    ]
    with wrap(module) as model, model.apply_mask(keep):
        calls.clear()
        own_logits(module, sequences((5,)))
    for hook in hooks:
        hook.remove()
    run = {".".join(name.split(".")[1:4]) for name in calls if ".layers." in name}
    assert "layers.0.self_attn" in run and "layers.1.mlp" in run and "layers.2.self_attn" in run
    for removed in ("1.self_attn", "1.input_layernorm", "1.post_attention_layernorm", "2.mlp"):
        assert f"layers.{removed}" not in run
    assert not any(name.startswith("layers.3") for name in run)


def test_sliding_and_full_attention_keep_their_masks() -> None:
    """In a model of both kinds, whichever is the first that is left."""
    module = eager("gemma2")
    with wrap(module) as model:
        for removed in ((0,), (2,), (0, 2), (0, 1), (0, 2, 3, 5), (4,)):
            keep = np.ones(2 * BLOCKS, dtype=np.uint8)
            keep[list(removed)] = 0
            with model.apply_mask(keep):
                assert torch.equal(
                    written(module, False).sequences, written(module, True).sequences
                )


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "opt", "deepseek"])
def test_adapters_in_the_place_of_what_is_removed(name: str) -> None:
    module = eager(name)
    data = pc.Data(sequences())
    with wrap(module) as model:
        whole = model.granularity == "block"
        mask = pc.Mask.remove(["block.1"] if whole else ["attn.1", "ffn.2", "block.3"], BLOCKS)
        adapters = model.recover(mask, data, "low_rank", 4, input="raw")
        wanted = adapters.attach(model).logits(data)
        before = everything(module)
        with model.apply_mask(adapters=adapters):
            np.testing.assert_allclose(own_logits(module, sequences()), wanted, atol=2e-5)
            modules = [part for part in module.modules() if isinstance(part, AdapterModule)]
            assert len(modules) == len(adapters)
            assert torch.equal(written(module, False).sequences, written(module, True).sequences)
            loss = module(torch.from_numpy(sequences()[1])[None], use_cache=False).logits.sum()
            loss.backward()
            assert all(float(part.bias.grad.abs().max()) > 0 for part in modules)
        assert everything(module) == before
        with pytest.raises(pc.ArgumentError, match="removes"):
            model.apply_mask(pc.Mask.all(BLOCKS), adapters)


def test_normed_adapters_have_the_epsilon_of_their_norm() -> None:
    module = eager("gemma3")
    data = pc.Data(sequences())
    with wrap(module) as model:
        mask = pc.Mask.remove(["attn.1", "ffn.2"], BLOCKS)
        adapters = model.recover(mask, data, "low_rank", 4)
        assert {adapter.input for adapter in adapters} == {"normed"}
        wanted = adapters.attach(model).logits(data)
        with model.apply_mask(mask, adapters):
            np.testing.assert_allclose(own_logits(module, sequences()), wanted, atol=2e-5)


def test_generate_of_the_model_itself() -> None:
    module = eager("qwen2")
    prompt = torch.from_numpy(sequences()[0])[None]
    mask = pc.Mask.remove(["attn.0", "block.2"], BLOCKS)
    with wrap(module) as model:
        whole = model.generate(prompt, max_new_tokens=6, do_sample=False)
        pruned = model.generate(prompt, max_new_tokens=6, do_sample=False, mask=mask)
        with model.masked(mask):
            again = model.generate(prompt, max_new_tokens=6, do_sample=False)
        assert torch.equal(pruned, again)
        assert torch.equal(whole, module.generate(prompt, max_new_tokens=6, do_sample=False))
        with model.apply_mask(mask):
            assert torch.equal(pruned, model.generate(prompt, max_new_tokens=6, do_sample=False))
            with pytest.raises(pc.ArgumentError, match="restore"):
                model.generate(prompt, mask=mask)


def test_only_one_mask_is_applied_to_a_module_at_a_time() -> None:
    module = eager("llama")
    data = pc.Data(sequences())
    model = wrap(module)
    loss = model.evaluate(data).loss
    before = everything(module)
    model.restore()  # nothing to take back
    model.apply_mask(pc.Mask.remove("attn.1", BLOCKS))
    applied = everything(module)
    with pytest.raises(pc.ArgumentError, match="restore"):
        model.apply_mask(pc.Mask.remove("attn.2", BLOCKS))
    with pytest.raises(pc.ArgumentError, match="restore"):
        model.evaluate(data)
    with wrap(eager("llama")) as other:  # another module: nothing is applied to it
        assert other.evaluate(data).loss == loss
    assert everything(module) == applied
    model.restore()
    assert everything(module) == before
    assert model.evaluate(data).loss == loss
    with pytest.raises(pc.ArgumentError, match="sublayers"):
        model.apply_mask([1, 1])
    with model, pytest.raises(RuntimeError, match="on purpose"), model.apply_mask(np.zeros(8)):
        raise RuntimeError("on purpose")
    assert everything(module) == before


def test_two_wraps_of_one_module() -> None:
    module = eager("llama")
    data = pc.Data(sequences())
    with wrap(module) as first, wrap(module, granularity="block") as second:
        with first.apply_mask(pc.Mask.remove("attn.1", BLOCKS)):
            with pytest.raises(pc.ArgumentError, match="restore"):
                second.evaluate(data)
            with pytest.raises(pc.ArgumentError, match="restore"):
                second.apply_mask(pc.Mask.remove("block.1", BLOCKS))
            with pytest.raises(pc.ArgumentError, match="restore"):
                wrap(module)
        assert second.evaluate(data).loss == pytest.approx(first.evaluate(data).loss, rel=1e-6)


def test_half_of_a_block_of_an_unknown_architecture() -> None:
    module = eager("deepseek")
    before = everything(module)
    with wrap(module) as model, pytest.raises(pc.UnsupportedError, match="both sublayers"):
        model.apply_mask(pc.Mask.remove("attn.1", BLOCKS))
    assert everything(module) == before
