# SPDX-License-Identifier: Apache-2.0
"""Healing of wrapped models: what it changes, refuses, saves, resumes from, and wins back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from prunecore.torch import wrap  # noqa: E402
from torch_models import BLOCKS, sequences, tiny  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

MASK = pc.Mask.remove(["block.2", "attn.0"], BLOCKS)
QUICK: dict[str, Any] = {"train": "last:1", "steps": 3, "learning_rate": 3e-3, "batch_sequences": 2}


def data() -> pc.Data:
    return pc.Data(sequences())


def weights(module: Any) -> dict[str, Any]:
    return {name: own.detach().clone() for name, own in module.named_parameters()}


def changed(before: dict[str, Any], module: Any) -> list[str]:
    after = dict(module.named_parameters())
    return [name for name in after if name not in before or not before[name].equal(after[name])]


@pytest.fixture
def model() -> Iterator[Any]:
    with wrap(tiny("llama")) as wrapped:
        yield wrapped


def test_the_model_stays_as_it_is_and_the_healed_one_is_a_copy(model: Any) -> None:
    module = model.module
    module.lm_head.weight.requires_grad_(False)
    before, flags = weights(module), [own.requires_grad for own in module.parameters()]
    healed = model.heal(data(), MASK, held_out=data(), **QUICK)
    assert changed(before, module) == [] and healed.mask == MASK and model.mask == pc.Mask.all(4)
    assert flags == [own.requires_grad for own in module.parameters()]
    assert not module.training and all(own.grad is None for own in module.parameters())
    found = healed.model
    assert type(found) is type(model) and found.mask == MASK
    assert all(".layers.3." in name for name in changed(before, found.module))
    pointers = {own.data_ptr() for own in module.parameters()}
    assert not pointers & {own.data_ptr() for own in found.module.parameters()}
    # The objective on the held-out data is the loss that the mask gives.
    assert healed.loss_before == pytest.approx(model.evaluate(data(), MASK).loss, rel=1e-5)
    assert healed.loss_after == pytest.approx(found.evaluate(data()).loss, rel=1e-5)
    assert healed.loss_after < healed.loss_before and "loss_after" in repr(healed)
    assert found.evaluate(data(), pc.Mask.all(4)).loss != found.evaluate(data()).loss
    record = json.loads(json.dumps(healed.to_dict()))
    assert (
        record["removed"] == MASK.removed and record["provenance"]["data_sha256"] == data().digest
    )
    assert [row["step"] for row in record["history"]] == [0, 1, 2, 3]
    lengths = [len(ids) for ids in sequences() if len(ids) > 1]  # five: then a second epoch begins
    assert healed.trained_tokens - sum(lengths) in lengths


def test_in_place_the_module_itself_is_trained_when_all_is_done(model: Any) -> None:
    module, before = model.module, weights(model.module)
    parameters = dict(module.named_parameters())
    copied = model.heal(data(), MASK, held_out=data(), **QUICK)
    with pytest.raises(pc.Cancelled, match="after step 2 of 3"):
        model.heal(
            data(),
            MASK,
            held_out=data(),
            **QUICK,
            in_place=True,
            progress=lambda stage, done, *_: stage == "training" and done == 2,
        )
    assert changed(before, module) == []
    healed = model.heal(data(), MASK, held_out=data(), **QUICK, in_place=True)
    assert healed.model.module is module and healed.model.mask == MASK
    assert all(own is parameters[name] for name, own in module.named_parameters())
    assert changed(weights(copied.model.module), module) == []
    # The model that was wrapped first is that of the same module.
    assert model.evaluate(data(), MASK).loss == healed.model.evaluate(data()).loss


def test_the_models_own_mask_holds_where_none_is_given(model: Any) -> None:
    model.mask = MASK
    healed = model.heal(data(), held_out=data(), **QUICK)
    assert healed.mask == MASK
    assert healed.history == model.heal(data(), MASK, held_out=data(), **QUICK).history


def test_tied_heads_are_refused_or_untied_and_then_trained_alone(tmp_path: Path) -> None:
    module = tiny("qwen3")
    before = weights(module)
    with wrap(module) as model:
        for name in ("head", "embedding"):
            with pytest.raises(pc.ArgumentError, match=f"{name}.*tied.*untie_head=True"):
                model.heal(data(), MASK, train=[name, "last:1"])
        options: dict[str, Any] = {**QUICK, "train": "head", "untie_head": True}
        healed = model.heal(data(), MASK, held_out=data(), **options)
        assert changed(before, module) == [] and module.config.tie_word_embeddings
        assert module.lm_head.weight is module.model.embed_tokens.weight
        found = healed.model.module
        assert changed(before, found) == ["lm_head.weight"] and not found.config.tie_word_embeddings
        whole = model.heal(data(), pc.Mask.remove("block.2", 4), held_out=data(), **options)
        whole.model.export(tmp_path / "plain", format="hf_plain")
        loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "plain").eval()
        assert torch.equal(loaded.lm_head.weight, whole.model.module.lm_head.weight)
        assert torch.equal(loaded.model.embed_tokens.weight, module.model.embed_tokens.weight)
        with wrap(loaded) as again, pc.open(tmp_path / "plain") as opened:
            assert again.evaluate(data()).loss == pytest.approx(whole.loss_after, rel=1e-5)
            assert opened.evaluate(data()).loss == pytest.approx(whole.loss_after, rel=1e-4)
        healed.model.export(tmp_path / "custom")  # half of a block is gone: hf_custom
        with pc.open(tmp_path / "custom") as opened:
            assert opened.evaluate(data()).loss == pytest.approx(healed.loss_after, rel=1e-4)
        both = model.heal(data(), MASK, held_out=data(), **{**options, "in_place": True})
        assert both.model.module is module and not module.config.tie_word_embeddings
        assert changed(weights(found), module) == []
        again = model.heal(data(), MASK, held_out=data(), **{**QUICK, "train": "head"})
        assert again.trained_parameters == module.lm_head.weight.numel()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": []}, "train names nothing"),
        ({"train": "lasr:3"}, "train has 'lasr:3'.*last:K"),
        ({"train": ["head", 3]}, "train has 3.*names"),
        ({"train": "block.2"}, "block.2, which the mask removes"),
        ({"train": "attn.0"}, "attn.0, which the mask removes"),
        ({"train": "ffn.4"}, "ffn.4, but the model has 4 blocks, 0 to 3"),
        ({"train": "last:4"}, "last:4, but the mask keeps 3 blocks"),
        ({"train": "last:0"}, "last:0, but the mask keeps 3 blocks"),
        ({"mask": np.zeros(8, np.uint8)}, "removes every sublayer"),
        ({"objective": "mse"}, "objective is 'mse'.*ce, kl, js"),
        ({"schedule": "step"}, "schedule is 'step'"),
        ({"steps": 0}, "steps is 0"),
        ({"batch_sequences": 0}, "batch_sequences is 0"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"clip_norm": 0.0}, "clip_norm is 0"),
        ({"evaluate_every": 0}, "evaluate_every is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"batch_tokens": 0}, "batch_tokens is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"untie_head": True}, "untie_head is set"),
        ({"teacher": 3}, "teacher is 3"),
        ({"held_out": [1, 2]}, r"held_out is .* but must be Data"),
    ],
)
def test_what_cannot_be_is_refused_by_name(model: Any, options: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"mask": MASK, "train": "last:1", "held_out": data(), **options}
    with pytest.raises(pc.ArgumentError, match=words):
        model.heal(data(), **given)


def test_teachers_that_do_not_fit_are_refused(model: Any, tales: pc.Model) -> None:
    with pytest.raises(pc.ArgumentError, match="2048 tokens, but the model has 97"):
        model.heal(data(), MASK, train="last:1", objective="kl", teacher=tales)
    with pytest.raises(pc.ArgumentError, match="ce has no teacher"):
        model.heal(data(), MASK, train="last:1", teacher=model)


def test_models_that_cannot_be_trained_so_are_refused() -> None:
    with wrap(tiny("diffllama")) as whole:
        with pytest.raises(pc.ArgumentError, match=r"attn.1.*as a whole: name block.1"):
            whole.heal(data(), train="attn.1")
        healed = whole.heal(data(), pc.Mask.remove("block.1", 4), held_out=data(), **QUICK)
        assert healed.loss_after < healed.loss_before
    module = tiny("llama")
    with wrap(module) as model:
        with model.apply_mask(MASK), pytest.raises(pc.ArgumentError, match="restore"):
            model.heal(data(), train="last:1")
        module.train()
        with pytest.raises(pc.ArgumentError, match="training mode"):
            model.heal(data(), train="last:1")
        module.eval()
        module.model.norm.weight.data[3] = float("nan")
        with pytest.raises(pc.NonFiniteError, match="held-out data after step 0: the loss of seq"):
            model.heal(data(), train="last:1", held_out=data())


def test_rates_that_diverge_say_where(model: Any) -> None:
    options = {**QUICK, "learning_rate": 1e30, "schedule": "constant", "steps": 9}
    with pytest.raises(pc.NonFiniteError, match="step \\d: the .* not finite.*learning rate"):
        model.heal(data(), MASK, held_out=data(), **{**options, "train": "all"})


def test_data_that_say_nothing_are_refused(model: Any) -> None:
    silent = pc.Data(sequences(), np.zeros(data().n_tokens))
    with pytest.raises(pc.DataError, match="data has nothing to predict.*weight is 0"):
        model.heal(silent, MASK, train="last:1", held_out=data())
    with pytest.raises(pc.DataError, match="held_out has nothing to predict"):
        model.heal(data(), MASK, train="last:1", held_out=pc.Data([[3]]))
    with pytest.raises(pc.DataError, match="1 of the sequences"):
        model.heal(pc.Data([[3, 4], [5]]), MASK, train="last:1")
    with pytest.raises(pc.DataError, match="token 97"):
        model.heal(pc.Data([[3, 97]]), MASK, train="last:1", held_out=data())


def test_a_tenth_of_the_data_is_held_out_where_none_is_given(model: Any) -> None:
    rows = np.random.default_rng(4).integers(0, 97, (20, 8))
    healed = model.heal(pc.Data(rows), MASK, **{**QUICK, "batch_sequences": 18, "steps": 2})
    losses = [model.evaluate(pc.Data(rows[[i]]), MASK).loss for i in range(20)]
    pairs = [(losses[i] + losses[j]) / 2 for i in range(20) for j in range(i)]
    assert min(abs(pair - healed.loss_before) for pair in pairs) < 1e-5
    assert healed.trained_tokens == 2 * 18 * 8
    other = model.heal(pc.Data(rows), MASK, **{**QUICK, "seed": 1})
    assert other.loss_before != healed.loss_before


class Stop(Exception):
    """Stands for whatever ends a run."""


class StopAfter:
    """Progress that ends a training after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self, stage: str, *_: object) -> None:
        self.left -= stage == "training"
        if self.left == 0:
            raise Stop


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stopped_runs_resume_and_end_with_the_same_bits(tmp_path: Path, dtype: Any) -> None:
    options: dict[str, Any] = {
        **{"train": ["head", "last:1"], "steps": 9, "batch_sequences": 2, "learning_rate": 3e-3},
        **{"held_out": data()[:3], "evaluate_every": 3, "objective": "kl", "weight_decay": 0.1},
    }
    with wrap(tiny("llama", dtype)) as model:
        whole = model.heal(data(), MASK, **options)
        for run in range(20):
            stop = StopAfter(1 + run % 2)
            try:
                found = model.heal(
                    data(), MASK, **options, checkpoint=tmp_path / "run", progress=stop
                )
                break
            except Stop:
                assert stop.left == 0
        assert run > 3
        assert found.history == whole.history and found.best_step == whole.best_step
        assert changed(weights(whole.model.module), found.model.module) == []
        content = (tmp_path / "run").read_bytes()
        # A run that is over is read, not run again.
        again = model.heal(
            data(),
            MASK,
            **options,
            checkpoint=tmp_path / "run",
            progress=lambda *_: pytest.fail("told"),
        )
        assert again.history == whole.history and (tmp_path / "run").read_bytes() == content
        assert changed(weights(whole.model.module), again.model.module) == []


def test_checkpoints_are_of_their_model_data_and_options(model: Any, tmp_path: Path) -> None:
    file = tmp_path / "runs" / "run"
    options = {**QUICK, "held_out": data(), "checkpoint": file}
    model.heal(data(), MASK, **options)
    content = file.read_bytes()
    for other, words in (
        ({"steps": 4}, "steps is 3 there and 4 here"),
        ({"train": "last:2"}, "train is"),
        ({"objective": "kl"}, "objective is"),
        ({"seed": 2}, "seed is 0 there and 2 here"),
        ({"held_out": data()[:2]}, "held_out_sha256"),
        ({"mask": pc.Mask.remove("block.1", 4)}, "removed is"),
    ):
        with pytest.raises(pc.ArgumentError, match=f"another run: .*{words}"):
            model.heal(data(), **{"mask": MASK, **options, **other})
    embedding = model.module.model.embed_tokens.weight.data
    before = embedding.clone()
    embedding[5, 5] += 1
    with pytest.raises(pc.ArgumentError, match="weights_sha256"):
        model.heal(data(), MASK, **options)
    embedding.copy_(before)
    for damage in (content[:-1], content[:-40] + b"x" + content[-39:], content[:200], b"", b"{}\n"):
        file.write_bytes(damage)
        with pytest.raises(pc.FormatError, match="run"):
            model.heal(data(), MASK, **options)


def test_training_ends_where_no_look_is_better_and_keeps_the_best_weights(model: Any) -> None:
    held_out = pc.Data(np.random.default_rng(6).integers(0, 97, (3, 12)))  # nothing to learn of it
    options = {**QUICK, "train": "all", "steps": 200, "learning_rate": 1e-2, "schedule": "constant"}
    healed = model.heal(data(), held_out=held_out, evaluate_every=2, patience=3, **options)
    assert healed.steps == healed.best_step + 6 < 200
    best = min(record.held_out_loss for record in healed.history)
    assert healed.loss_after == best == healed.history[healed.best_step // 2].held_out_loss
    assert healed.model.evaluate(held_out).loss == pytest.approx(best, rel=1e-5)


def test_the_seed_orders_the_sequences(model: Any) -> None:
    options = {**QUICK, "held_out": data(), "batch_sequences": 1, "steps": 10}
    first, again, other = (
        model.heal(data(), MASK, **options, seed=seed).history for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_teacher_of_the_library_is_as_good_as_one_in_pytorch(tales_dir: Path) -> None:
    """Its logits differ by rounding alone."""
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(tales_dir, dtype=torch.float32).eval()
    mask = pc.Mask.remove(["block.8", "block.9"], 12)
    with wrap(module) as model, pc.open(tales_dir) as opened:
        text = pc.Data.from_text(tales_dir / "stories.jsonl", opened, 48, limit=6)
        options = {**QUICK, "objective": "kl", "held_out": text[:2], "learning_rate": 1e-3}
        own = model.heal(text, mask, **options)
        other = model.heal(text, mask, **options, teacher=opened)
    found = [record.held_out_loss for record in other.history]
    assert found == pytest.approx([record.held_out_loss for record in own.history], rel=1e-4)


def test_healing_wins_back_loss_of_blocks_removed_from_tales(tales_dir: Path) -> None:
    """The recipe of "Reassessing layer pruning", after its tail of blocks is gone."""
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(tales_dir, dtype=torch.float32).eval()
    with wrap(module) as model, pc.open(tales_dir) as opened:
        mask = opened.search(granularity="block", data=pc.Data([[1, 2]]), strategy="tail", remove=3)
        text = pc.Data.from_text(tales_dir / "stories.jsonl", opened, 64)
        healed = model.heal(
            text[:48],
            mask.mask,
            train=["head", "final_norm", "last:3"],
            untie_head=True,
            steps=12,
            learning_rate=1e-3,
            held_out=text[48:56],
        )
        full = model.evaluate(text[48:56]).loss
        pruned = model.evaluate(text[48:56], mask.mask).loss
        found = healed.model.evaluate(text[48:56]).loss
    assert full < found < pruned and pruned - found > 0.1
    assert found == pytest.approx(healed.loss_after, abs=1e-4)
