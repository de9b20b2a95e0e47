# SPDX-License-Identifier: Apache-2.0
"""Gradients are those of PyTorch's autograd: per sublayer, from end to end, and of adapters.

Both compute in fp32 and add in other orders; an error is relative to the gradient's own length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gradient_oracle import GradientOracle, objective
from prunecore._native.library import ffi, lib, new_struct
from random_models import CHECKPOINTS, masks
from raw_calls import array, check, opened, token_data
from subjects import Subject, Subjects

pytestmark = pytest.mark.kernels

ERROR = 1e-4
KINDS = {"BIAS": 1, "LOW_RANK": 2, "LINEAR": 3}
CHECKED = [name for name in CHECKPOINTS if name.endswith("float32")]
LIVE = ["llama-biases-float32", "mistral-window-float32", "qwen2-window-float32", "qwen3-float32"]


@pytest.fixture(scope="module")
def oracles() -> dict[str, GradientOracle]:
    return {}


def oracle_of(subject: Subject, oracles: dict[str, GradientOracle]) -> GradientOracle:
    if subject.name not in oracles:
        oracles[subject.name] = GradientOracle(subject.directory)
    return oracles[subject.name]


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape
    assert np.linalg.norm(wanted) > 0
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def buffer(values: np.ndarray) -> Any:
    return ffi.from_buffer("float[]", np.ascontiguousarray(values, dtype=np.float32))


@pytest.mark.parametrize("name", CHECKED)
def test_pullback_of_every_sublayer_is_that_of_autograd(
    name: str, subjects: Subjects, oracles: dict[str, GradientOracle]
) -> None:
    subject = subjects(name)
    graphs = [oracle_of(subject, oracles).graph(ids) for ids in subject.sequences]
    random = np.random.default_rng(3)
    with opened(subject.directory) as model:
        data = token_data(subject.sequences)
        for sublayer in range(2 * subject.n_blocks):
            before = np.concatenate([g.states[sublayer][0].detach().numpy() for g in graphs])
            slopes = random.standard_normal(before.shape).astype(np.float32)
            found = np.empty_like(before)
            check(
                lib.prune_model_vjp(
                    model, data, sublayer, buffer(before), buffer(slopes), before.size, ffi.NULL,
                    ffi.from_buffer("float[]", found),
                )
            )  # fmt: skip
            wanted, first = [], 0
            for graph in graphs:
                ends = (graph.states[sublayer + 1], graph.states[sublayer])
                own = slopes[first : first + ends[0].shape[1]]
                (slope,) = torch.autograd.grad(*ends, torch.from_numpy(own)[None], True)
                wanted.append(slope[0].numpy())
                first += len(own)
            assert relative_error(found, np.concatenate(wanted)) <= ERROR, f"sublayer {sublayer}"


@pytest.mark.parametrize("name", LIVE)
@pytest.mark.parametrize(
    ("what", "mask"),
    # The divergence of a whole model from itself has no slope.
    [("CE", "none"), *((what, f"random-{i}") for what in ("CE", "KL", "JS") for i in (0, 1))],
)
def test_gradients_from_end_to_end_are_those_of_autograd(
    name: str, what: str, mask: str, subjects: Subjects, oracles: dict[str, GradientOracle]
) -> None:
    subject = subjects(name)
    oracle = oracle_of(subject, oracles)
    n_blocks = subject.n_blocks
    everything = np.ones(2 * n_blocks, np.uint8)
    keep = everything if mask == "none" else masks(n_blocks)[mask]
    loss, graphs = objective(what, oracle, subject.sequences, keep)
    with opened(subject.directory) as model:
        data = token_data(subject.sequences)
        for sublayer in (0, n_blocks, 2 * n_blocks):
            states = [graph.states[sublayer] for graph in graphs]
            slopes = torch.autograd.grad(loss, states, retain_graph=True, allow_unused=True)
            wanted = np.concatenate(
                [
                    np.zeros(state.shape[1:], np.float32) if slope is None else slope[0].numpy()
                    for state, slope in zip(states, slopes, strict=True)
                ]
            )
            found = np.empty_like(wanted)
            value = ffi.new("double *")
            check(
                lib.prune_model_gradient(
                    model, data, array("uint8_t", keep), len(keep),
                    getattr(lib, f"PRUNE_OBJECTIVE_{what}"), sublayer, ffi.NULL,
                    ffi.from_buffer("float[]", found), found.size, ffi.NULL, value,
                )
            )  # fmt: skip
            assert relative_error(found, wanted) <= ERROR, f"state {sublayer}"
            assert value[0] == pytest.approx(loss.item(), rel=1e-5)


class TorchAdapter:
    """What stands at one sublayer, from the library's own numbers."""

    def __init__(self, handle: Any, info: Any, width: int, epsilon: float) -> None:
        self.rank, self.width, self.epsilon = info.rank, width, epsilon
        self.norm = None
        if info.kind != KINDS["BIAS"] and info.input == lib.PRUNE_INPUT_NORMED:
            self.norm = part(handle, info.sublayer, lib.PRUNE_PART_NORM, (width,))
        self.parameters = [part(handle, info.sublayer, lib.PRUNE_PART_BIAS, (width,))]
        if info.kind == KINDS["LOW_RANK"]:
            down, up = (info.rank, width), (width, info.rank)
            self.parameters.append(part(handle, info.sublayer, lib.PRUNE_PART_DOWN, down))
            self.parameters.append(part(handle, info.sublayer, lib.PRUNE_PART_UP, up))
        elif info.kind == KINDS["LINEAR"]:
            square = (width, width)
            self.parameters.append(part(handle, info.sublayer, lib.PRUNE_PART_MATRIX, square))
        for parameter in self.parameters:
            parameter.requires_grad_()

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        x = hidden
        if self.norm is not None:
            mean = hidden.square().mean(-1, keepdim=True)
            x = hidden * torch.rsqrt(mean + self.epsilon) * self.norm
        update = self.parameters[0].expand_as(hidden)
        for matrix in self.parameters[1:]:
            x = x @ matrix.T
        return update + x if len(self.parameters) > 1 else update


def part(handle: Any, sublayer: int, which: int, shape: tuple[int, ...]) -> torch.Tensor:
    values = np.empty(shape, np.float32)
    out = ffi.from_buffer("float[]", values)
    check(lib.prune_adapters_get(handle, sublayer, which, out, values.size, ffi.NULL))
    return torch.from_numpy(values)


@pytest.mark.parametrize("name", LIVE)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["CE", "KL", "JS", "MSE"])
def test_gradients_of_adapters_are_those_of_autograd(
    name: str, kind: str, what: str, subjects: Subjects, oracles: dict[str, GradientOracle]
) -> None:
    subject = subjects(name)
    oracle = oracle_of(subject, oracles)
    n_blocks, width = subject.n_blocks, subject.oracle.model.config.hidden_size
    keep = np.ones(2 * n_blocks, np.uint8)
    keep[[1, 2, 3, 4]] = 0  # a feed-forward layer, a whole block, and an attention layer
    options = new_struct("prune_recover_options")
    options.kind, options.rank, options.ridge = KINDS[kind], 3, 0.1
    options.input = lib.PRUNE_INPUT_RAW if what == "JS" else lib.PRUNE_INPUT_NORMED
    with opened(subject.directory) as model:
        data = token_data(subject.sequences)
        mask = array("uint8_t", keep)
        out = ffi.new("prune_adapters **")
        check(lib.prune_model_recover(model, data, mask, len(keep), options, out))
        handle = ffi.gc(out[0], lib.prune_adapters_release)
        infos = ffi.new("prune_adapter[]", 2 * n_blocks)
        count = ffi.new("size_t *")
        check(lib.prune_adapters_list(handle, infos, len(infos), count))
        epsilon = subject.oracle.model.config.rms_norm_eps
        adapters = {
            infos[i].sublayer: TorchAdapter(handle, infos[i], width, epsilon)
            for i in range(count[0])
        }
        assert sorted(adapters) == [1, 2, 4]
        oracle.updates = adapters
        try:
            loss, _ = objective(what, oracle, subject.sequences, keep)
        finally:
            oracle.updates = {}
        for sublayer, adapter in adapters.items():
            slopes = torch.autograd.grad(loss, adapter.parameters, retain_graph=True)
            wanted = np.concatenate([slope.numpy().ravel() for slope in slopes])
            found = np.empty_like(wanted)
            value = ffi.new("double *")
            check(
                lib.prune_adapters_gradient(
                    handle, model, data, getattr(lib, f"PRUNE_OBJECTIVE_{what}"), sublayer,
                    ffi.NULL, ffi.from_buffer("float[]", found), found.size, ffi.NULL, value,
                )
            )  # fmt: skip
            assert relative_error(found, wanted) <= ERROR, f"sublayer {sublayer}"
            assert value[0] == pytest.approx(loss.item(), rel=1e-4)
