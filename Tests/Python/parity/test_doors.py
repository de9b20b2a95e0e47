# SPDX-License-Identifier: Apache-2.0
"""One model through three doors: opened, over the weights of a PyTorch model, run by transformers.

Everything that is measured is the same number. The host runs the layers of transformers in fp32 and
gets its gradients from torch.autograd: nothing of the third door's arithmetic is the library's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import prunecore as pc
import pytest
import torch
from subjects import Subject, Subjects
from torch import Tensor
from torch.nn import functional

CLOSE = 1e-4
TRAINED = 1e-3
DOORS = ("from_torch", "from_host")


@dataclass(frozen=True)
class State:
    """Hidden rows of each sequence of a batch."""

    parts: tuple[Tensor, ...]

    @property
    def rows(self) -> Tensor:
        return torch.cat(self.parts)

    def filled(self, rows: Tensor) -> State:
        return replace(self, parts=torch.split(rows, [len(part) for part in self.parts]))


class TransformersHost(pc.Host):
    """The modules of a causal language model, sequence after sequence."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module, config = module, module.config
        self.n_blocks = config.num_hidden_layers
        self.hidden_size = config.hidden_size
        self.vocabulary_size = config.vocab_size
        self.architecture = config.architectures[0]

    def embed(self, batch):
        with torch.no_grad():
            ids = [torch.from_numpy(ids).long() for ids in batch.sequences]
            return State(tuple(self.module.model.embed_tokens(each) for each in ids))

    def apply(self, sublayer, states):
        with torch.no_grad():
            return [State(tuple(self._after(sublayer, h) for h in s.parts)) for s in states]

    def token_losses(self, state, rows, tokens):
        with torch.no_grad():
            return self._losses(state.rows[rows], tokens).numpy()

    def logits(self, state, first_row, n_rows):
        with torch.no_grad():
            return self._head(state.rows[first_row : first_row + n_rows]).numpy()

    def read(self, state):
        return state.rows.numpy()

    def write(self, like, values):
        return like.filled(torch.tensor(values))

    def norm(self, sublayer):
        norm = self._norm(sublayer)
        return norm.weight.detach().numpy(), norm.variance_epsilon

    def vjp(self, sublayer, states, gradients):
        made = []
        for state, gradient in zip(states, gradients, strict=True):
            parts = []
            for h, slope in zip(state.parts, gradient.parts, strict=True):
                leaf = h.clone().requires_grad_()
                (by_h,) = torch.autograd.grad(self._after(sublayer, leaf), leaf, slope)
                parts.append(by_h)
            made.append(State(tuple(parts)))
        return made

    def head_vjp(self, state, objective, reference, rows, tokens, weights):
        leaf = state.rows.clone().requires_grad_()
        if objective == "ce":
            losses = self._losses(leaf[rows], tokens)
        else:
            own = functional.log_softmax(self._head(leaf[rows]), -1)
            with torch.no_grad():
                other = functional.log_softmax(self._head(reference.rows[rows]), -1)
            losses = (other.exp() * (other - own)).sum(-1)
            if objective == "js":
                middle = torch.logsumexp(torch.stack([own, other]), 0) - np.log(2)
                both = [(p.exp() * (p - middle)).sum(-1) for p in (own, other)]
                losses = (both[0] + both[1]) / 2
        (gradient,) = torch.autograd.grad(losses, leaf, torch.tensor(weights))
        return losses.detach().numpy(), state.filled(gradient)

    def _after(self, sublayer: int, h: Tensor) -> Tensor:
        layer, x = self.module.model.layers[sublayer // 2], self._norm(sublayer)(h)
        if sublayer % 2:
            return h + layer.mlp(x)
        positions = torch.arange(len(h))[None]
        away = positions.T - positions
        window = getattr(layer.self_attn, "sliding_window", None)
        if self.module.config.model_type == "mistral":  # of all its layers
            window = self.module.config.sliding_window
        seen = (away >= 0) & (away < (window or len(h)))
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
        rotary = self.module.model.rotary_emb(h[None], positions)
        update, _ = layer.self_attn(
            hidden_states=x[None], attention_mask=mask[None, None], position_embeddings=rotary
        )
        return h + update[0]

    def _norm(self, sublayer: int) -> torch.nn.Module:
        layer = self.module.model.layers[sublayer // 2]
        return layer.post_attention_layernorm if sublayer % 2 else layer.input_layernorm

    def _head(self, rows: Tensor) -> Tensor:
        return self.module.lm_head(self.module.model.norm(rows))

    def _losses(self, rows: Tensor, tokens: np.ndarray) -> Tensor:
        wanted = torch.from_numpy(tokens).long()
        return functional.cross_entropy(self._head(rows), wanted, reduction="none")


@dataclass
class Doors:
    """A model opened, the same through another door, and what both are tried on."""

    opened: pc.Model
    other: pc.Model
    data: pc.Data

    @property
    def both(self) -> tuple[pc.Model, pc.Model]:
        return self.other, self.opened


@pytest.fixture(
    scope="module",
    params=["llama-llama3-float32", "mistral-window-float32", "qwen2-window-float32"],
)
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


@pytest.fixture(scope="module", params=DOORS)
def doors(request: pytest.FixtureRequest, subject: Subject) -> Iterator[Doors]:
    module = subject.oracle.model
    data = pc.Data([ids for ids in subject.sequences if len(ids) < 65])
    opened = pc.open(subject.directory, compute="float32")
    if request.param == "from_host":
        other = pc.from_host(TransformersHost(module))
    else:
        other = pc.from_torch(module, compute="float32")
    with opened, other:
        yield Doors(opened, other, data)
        assert request.param != "from_host" or other.live_states == 0


def near(found: np.ndarray, wanted: np.ndarray, tolerance: float = CLOSE) -> None:
    """Equal to a part of the largest value."""
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def test_metrics_are_the_same_through_every_door(doors: Doors) -> None:
    names = ["cosine", "angular", "l1", "l2", "relative_l1", "relative_l2"]
    for granularity in ("sublayer", "block"):
        found, wanted = (model.score(doors.data, names, granularity) for model in doors.both)
        for name in names:
            near(found[name], wanted[name])


def test_leave_one_out_is_the_same_through_every_door(doors: Doors) -> None:
    names = ["leave_one_out_loss", "leave_one_out_logit_l2"]
    found, wanted = (model.score(doors.data, names) for model in doors.both)
    for name in names:
        near(found[name], wanted[name])


@pytest.mark.parametrize("measure", ["loss", "kl"])
def test_shapley_values_are_the_same_through_every_door(doors: Doors, measure: str) -> None:
    options = {"measure": measure, "estimator": "stratified", "budget": 40, "seed": 3}
    found, wanted = (model.shapley(doors.data, **options) for model in doors.both)
    near(found.values, wanted.values)
    near(found.standard_errors, wanted.standard_errors)


@pytest.mark.parametrize("inputs", ["normed", "raw"])
def test_closed_form_adapters_are_the_same_through_every_door(doors: Doors, inputs: str) -> None:
    mask = np.ones(2 * doors.opened.shape.n_blocks, dtype=np.uint8)
    mask[[1, 4]] = 0
    for kind in pc.ADAPTER_KINDS:
        options = {"kind": kind, "input": inputs, "ridge": 1e-2}
        if kind == "low_rank":
            options["rank"] = 8
        ours, theirs = (model.recover(mask, doors.data, **options) for model in doors.both)
        for sublayer in (1, 4):
            for found, wanted in zip(dense(ours, sublayer), dense(theirs, sublayer), strict=True):
                near(found, wanted)
        near(
            doors.other.evaluate(doors.data, adapters=ours).loss * np.ones(1),
            doors.opened.evaluate(doors.data, adapters=theirs).loss * np.ones(1),
        )


@pytest.mark.parametrize("objective", ["mse", "ce", "kl", "js"])
def test_trained_adapters_are_the_same_through_every_door(doors: Doors, objective: str) -> None:
    mask = np.ones(2 * doors.opened.shape.n_blocks, dtype=np.uint8)
    mask[[2, 5]] = 0
    options = {"objective": objective, "rank": 4, "start": "zero", "steps": 5, "step_tokens": 64}
    options |= {"held_out_share": 0.3, "seed": 1}
    ours, theirs = (model.recover(mask, doors.data, **options) for model in doors.both)
    for sublayer in (2, 5):
        for found, wanted in zip(dense(ours, sublayer), dense(theirs, sublayer), strict=True):
            near(found, wanted, TRAINED)


def dense(adapters: pc.Adapters, sublayer: int) -> tuple[np.ndarray, ...]:
    """Bias and matrix: the factors of a matrix of low rank have signs of their own."""
    parts = adapters.arrays(sublayer)
    if "down" in parts:
        return parts["bias"], parts["up"].astype(np.float64) @ parts["down"]
    return (parts["bias"], parts["matrix"]) if "matrix" in parts else (parts["bias"],)
