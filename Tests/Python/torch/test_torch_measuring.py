# SPDX-License-Identifier: Apache-2.0
"""What is measured of a wrapped model: against PyTorch, and against the library's own engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from prunecore.torch import wrap  # noqa: E402
from torch.nn.functional import cross_entropy, kl_div, log_softmax  # noqa: E402
from torch_models import (  # noqa: E402
    BLOCKS,
    layers,
    own_logits,
    random_masks,
    sequences,
    skipping,
    tiny,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")

NAMES = ["llama", "gemma3", "gpt2", "opt", "gpt_neox"]


def data() -> pc.Data:
    return pc.Data(sequences())


def eager(name: str) -> Any:
    return tiny(name, attention="eager")


def losses_of(logits: Any) -> np.ndarray:
    """Loss of every token from the logits before it; 0 for the first of a sequence."""
    made, start = [], 0
    for ids in sequences():
        own = logits[start : start + len(ids)]
        losses = cross_entropy(own[:-1], torch.from_numpy(ids[1:]), reduction="none")
        made.append(np.concatenate([[0.0], losses.numpy()]))
        start += len(ids)
    return np.concatenate(made)


def predicting() -> np.ndarray:
    """Whether a token predicts one: all but the last of each sequence."""
    return np.concatenate([np.arange(1, len(ids) + 1) < len(ids) for ids in sequences()])


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_distances_of_a_wrapped_model_are_those_of_pytorch(name: str) -> None:
    module = eager(name)
    keep = random_masks(1)[0]
    reference = own_logits(module, sequences())
    with skipping(module, name, keep):
        logits = own_logits(module, sequences())
    with wrap(module) as model:
        losses = model.token_losses(data(), keep)
        np.testing.assert_allclose(losses, losses_of(logits), rtol=1e-4, atol=1e-5)
        found, wanted = log_softmax(logits, -1), log_softmax(reference, -1)
        middle = ((found.exp() + wanted.exp()) / 2).log()
        kl = kl_div(found, wanted, log_target=True, reduction="none").sum(-1)
        js = sum(
            kl_div(middle, p, log_target=True, reduction="none").sum(-1) for p in (found, wanted)
        )
        rows = predicting()
        for measure, values in {
            "loss": losses_of(logits)[losses_of(logits) > 0],
            "kl": kl[rows].numpy(),
            "js": js[rows].numpy() / 2,
        }.items():
            value = model.damages(data(), [keep], measure).values[0]
            assert value == pytest.approx(values.mean(), rel=1e-4), measure
        found_l2 = model.damages(data(), [keep], "logit_l2").values[0]
        l2 = (logits - reference).norm(dim=-1).numpy()
        assert min(abs(found_l2 / mean - 1) for mean in (l2.mean(), l2[rows].mean())) < 1e-4
        assert model.live_states == 0


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2"])
def test_static_metrics_of_a_wrapped_model_are_those_of_pytorch(name: str) -> None:
    """From the states that the model's own forward shows to hooks between the blocks."""
    module = eager(name)
    states: list[Any] = [[] for _ in range(BLOCKS)]
    after: list[Any] = [[] for _ in range(BLOCKS)]
    hooks = []
    for block, layer in enumerate(layers(module)):
        hooks.append(
            layer.register_forward_hook(
                lambda _m, inputs, named, output, block=block: (
                    (
                        states[block].append((inputs or [named["hidden_states"]])[0][0]),
                        after[block].append(
                            (output[0] if isinstance(output, tuple) else output)[0]
                        ),
                    )[:0]
                    or None
                ),
                with_kwargs=True,
            )
        )
    own_logits(module, sequences())
    for hook in hooks:
        hook.remove()
    with wrap(module) as model:
        scores = model.score(data(), ["cosine", "l1", "l2", "relative_l2"], "block")
        for block in range(BLOCKS):
            h, g = torch.cat(states[block]).double(), torch.cat(after[block]).double()
            cosine = 1 - torch.nn.functional.cosine_similarity(h, g)
            wanted = {
                "cosine": cosine.mean(),
                "l1": (g - h).abs().sum(-1).mean(),
                "l2": (g - h).norm(dim=-1).mean(),
                "relative_l2": ((g - h).norm(dim=-1) / h.norm(dim=-1)).mean(),
            }
            for metric, value in wanted.items():
                assert scores[metric][block] == pytest.approx(float(value), rel=1e-4, abs=1e-6)
        assert model.live_states == 0


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[pc.Model, pc.Model]]:
    """A Llama that the library's engine runs, and the same one wrapped."""
    directory: Path = tmp_path_factory.mktemp("llama")
    module = tiny("llama")
    module.save_pretrained(directory)
    with pc.open(directory) as own, wrap(module) as model:
        yield own, model


def test_scores_are_those_of_the_engine(both: tuple[pc.Model, pc.Model]) -> None:
    own, model = both
    static = [m for m in pc.STATIC_METRICS if m != "magnitude"]
    metrics = [*static, "leave_one_out_loss", "leave_one_out_logit_l2"]
    for granularity in ("sublayer", "block"):
        wanted = own.score(data(), metrics, granularity)
        found = model.score(data(), metrics, granularity)
        for metric in metrics:
            np.testing.assert_allclose(found[metric], wanted[metric], rtol=1e-4, atol=1e-5)
    with pytest.raises(pc.UnsupportedError):
        model.score(data(), "magnitude")


def test_shapley_values_are_those_of_the_engine(both: tuple[pc.Model, pc.Model]) -> None:
    own, model = both
    wanted = own.shapley(data(), budget=96, seed=4)
    found = model.shapley(data(), budget=96, seed=4)
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-4, atol=1e-5)
    assert model.live_states == 0


def test_shared_sublayers_are_computed_once(both: tuple[pc.Model, pc.Model]) -> None:
    masks = 1 - np.eye(2 * BLOCKS, dtype=np.uint8)
    reports = [model.damages(data(), masks).report for model in both]
    assert reports[0].sublayers_computed == reports[1].sublayers_computed
    assert reports[1].sublayers_computed < 0.7 * reports[1].sublayers_naive


def test_closed_form_adapters_are_those_of_the_engine(both: tuple[pc.Model, pc.Model]) -> None:
    own, model = both
    mask = pc.Mask.remove(["attn.1", "ffn.2"], BLOCKS)
    for kind in pc.ADAPTER_KINDS:
        wanted = own.recover(mask, data(), kind, 4, ridge=1e-2)
        found = model.recover(mask, data(), kind, 4, ridge=1e-2)
        for adapter in wanted:
            first, second = (a.get(adapter.name, "bias") for a in (wanted, found))
            np.testing.assert_allclose(second, first, atol=1e-3 * np.abs(first).max())
            first, second = (a.matrix(adapter.name) for a in (wanted, found))
            np.testing.assert_allclose(second, first, atol=1e-3 * max(1e-3, np.abs(first).max()))
        losses = [m.evaluate(data(), adapters=wanted).loss for m in both]
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert model.live_states == 0


@pytest.mark.parametrize("objective", ["kl", "mse"])
def test_trained_adapters_are_those_of_the_engine(
    both: tuple[pc.Model, pc.Model], objective: Any
) -> None:
    own, model = both
    mask = pc.Mask.remove(["attn.1", "ffn.2"], BLOCKS)
    how: dict[str, Any] = {"rank": 2, "steps": 4, "step_tokens": 32, "seed": 1, "ridge": 1e-2}
    wanted, found = (m.recover(mask, data(), objective=objective, **how) for m in both)
    losses = [
        m.evaluate(data(), adapters=a).loss for m, a in zip(both, (wanted, found), strict=True)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    pruned = model.evaluate(data(), mask).loss
    assert abs(losses[0] - pruned) > 1e-3  # what was trained does something
    assert model.live_states == 0


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "opt-norm-last", "gpt_neox", "olmo2"])
@pytest.mark.parametrize("objective", ["ce", "kl", "js"])
def test_gradients_are_those_of_autograd(name: str, objective: Any) -> None:
    """With respect to the embeddings, through the whole model with sublayers left out."""
    module = eager(name)
    keep = random_masks(2)[1]
    wanted, total, count = [], 0.0, 0
    for ids in sequences():
        with torch.no_grad():
            reference = log_softmax(module(torch.from_numpy(ids)[None]).logits[0], -1)
        caught: list[Any] = []

        def catch(_module: Any, inputs: Any, named: Any, caught: Any = caught) -> Any:
            hidden = (inputs or [named["hidden_states"]])[0].detach().requires_grad_()
            caught.append(hidden)
            return (
                ((hidden, *inputs[1:]), named)
                if inputs
                else ((), named | {"hidden_states": hidden})
            )

        hook = layers(module)[0].register_forward_pre_hook(catch, with_kwargs=True)
        with skipping(module, name, keep):
            logits = module(torch.from_numpy(ids)[None], use_cache=False).logits[0]
        hook.remove()
        found, told = log_softmax(logits[:-1], -1), reference[:-1]
        if objective == "ce":
            loss = cross_entropy(logits[:-1], torch.from_numpy(ids[1:]), reduction="sum")
        elif objective == "kl":
            loss = kl_div(found, told, log_target=True, reduction="sum")
        else:
            middle = ((found.exp() + told.exp()) / 2).log()
            parts = [kl_div(middle, p, log_target=True, reduction="sum") for p in (found, told)]
            loss = (parts[0] + parts[1]) / 2
        total, count = total + float(loss.detach()), count + len(ids) - 1
        (slope,) = torch.autograd.grad(loss, caught[0])
        wanted.append(slope[0].numpy())
    with wrap(module) as model:
        result = model.gradient(data(), objective, 0, keep)
        assert result.loss == pytest.approx(total / count, rel=1e-4)
        slopes = np.concatenate(wanted) / count
        error = np.linalg.norm(result.values - slopes) / np.linalg.norm(slopes)
        assert error < 1e-4
        assert model.live_states == 0


@pytest.mark.parametrize("name", ["phi3", "gpt2", "opt", "gemma2"])
def test_vjp_of_a_wrapped_model_is_that_of_autograd(name: str) -> None:
    """By central differences of what the sublayer makes of a state."""
    module = eager(name)
    text = pc.Data(sequences((4, 6)))
    random = np.random.default_rng(5)
    with wrap(module) as model:
        for sublayer in (2, 3):
            before = model.hidden_states(text, sublayer)
            slopes = random.standard_normal(before.shape).astype(np.float32)
            step = before.std() * random.standard_normal(before.shape).astype(np.float32)
            found = model.vjp(text, sublayer, before, slopes)
            made = []
            host = model.host
            ids = [ids.astype(np.int32) for ids in text.sequences]
            batch = pc.HostBatch(np.concatenate(ids), np.array([len(one) for one in ids]))
            start = host.embed(batch)
            for sign in (1, -1):
                moved = host.write(start, before + sign * 1e-3 * step)
                made.append(host.read(host.apply(sublayer, [moved])[0]).astype(float))
            difference = ((made[0] - made[1]) * slopes).sum() / 2e-3
            assert (found * step).astype(float).sum() == pytest.approx(difference, rel=2e-3)


@pytest.mark.parametrize("objective", ["mse", "ce", "js"])
def test_gradients_of_adapters_where_the_feed_forward_reads_the_blocks_input(
    objective: Any,
) -> None:
    """By central differences. The last feed-forward is removed: no state after it is a block's."""
    module = eager("gpt_neox")
    text = pc.Data(sequences((9, 12)))
    random = np.random.default_rng(6)
    with wrap(module) as model:
        mask = pc.Mask.remove(["attn.1", "ffn.3"], BLOCKS)
        adapters = model.recover(mask, text, "low_rank", 2, input="raw", ridge=1e-2)
        for sublayer in ("attn.1", "ffn.3"):
            found = adapters.gradient(model, text, sublayer, objective)
            for part, slopes in found.parts.items():
                values = adapters.get(sublayer, part)  # type: ignore[arg-type]
                step = random.standard_normal(values.shape).astype(np.float32)
                step *= 2e-2 * np.linalg.norm(values) / np.linalg.norm(step)
                losses = []
                for sign in (1, -1):
                    adapters.set(sublayer, part, values + sign * step)  # type: ignore[arg-type]
                    losses.append(adapters.gradient(model, text, sublayer, objective).loss)
                adapters.set(sublayer, part, values)  # type: ignore[arg-type]
                difference = (losses[0] - losses[1]) / 2
                size = float(np.linalg.norm(slopes) * np.linalg.norm(step))
                assert abs((slopes * step).astype(float).sum() - difference) < 2e-2 * size
        assert model.live_states == 0


@pytest.mark.parametrize("name", ["llama", "gemma3", "phi3", "olmo2", "gpt2"])
def test_wrapped_model_gives_norms_before_sublayers(name: str) -> None:
    module = eager(name)
    with wrap(module) as model:
        for sublayer in (0, 3):
            layer, found = layers(module)[sublayer // 2], model.host.norm(sublayer)
            if name in ("olmo2", "gpt2"):
                assert found is None
                continue
            after = "pre_feedforward_layernorm" if name == "gemma3" else "post_attention_layernorm"
            norm = getattr(layer, after if sublayer % 2 else "input_layernorm")
            hidden = torch.randn(3, 32)
            gain, epsilon = found
            wanted = norm(hidden).detach().numpy()
            states = hidden.numpy().astype(float)
            own = gain * states / np.sqrt((states**2).mean(-1, keepdims=True) + epsilon)
            np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["opt", "gpt_neox", "gemma2", "olmo2"])
def test_recovery_of_a_wrapped_model_wins_back_a_part(name: str) -> None:
    """Layer norms, norms by 1 + weight, no norm: closed form, and a short training after it."""
    module = eager(name)
    mask = pc.Mask.remove(["attn.1", "ffn.2"], BLOCKS)
    text = pc.Data(sequences((30,) * 24))
    normed = name != "olmo2"
    with wrap(module) as model:
        how: dict[str, Any] = {"rank": 4, "input": "normed" if normed else "raw"}
        if not normed:
            with pytest.raises(pc.UnsupportedError, match="norm"):
                model.recover(mask, text, "low_rank", 4, input="normed")
        adapters = model.recover(mask, text, "low_rank", **how)
        more = {"steps": 6, "step_tokens": 240, "evaluate_every": 3, "learning_rate": 1e-3}
        trained = model.recover(mask, text, "low_rank", objective="kl", **how, **more)
        distances = [
            model.damages(text, [mask], "kl").values[0],
            *(np.mean(recovered_kl(model, found, text)) for found in (adapters, trained)),
        ]
        assert distances[2] < distances[1] < distances[0]
        assert model.live_states == 0


def recovered_kl(model: pc.Model, adapters: pc.Adapters, text: pc.Data) -> np.ndarray:
    """KL of the full model from the recovered one, of every token."""
    full = log_softmax(torch.from_numpy(model.logits(text)), -1)
    with adapters.attach(model) as recovered:
        found = log_softmax(torch.from_numpy(recovered.logits(text)), -1)
    return kl_div(found, full, log_target=True, reduction="none").sum(-1).numpy()
