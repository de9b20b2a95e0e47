# SPDX-License-Identifier: Apache-2.0
"""Closed forms of adapters against scikit-learn and NumPy, from the same hidden states.

Inputs and updates are read with prune_model_hidden_states, whose parity with transformers is tested
elsewhere. Inputs are normed and everything is solved in double; an adapter is stored in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from prunecore._native.library import ffi, lib, new_struct
from raw_calls import array, check, opened, token_data
from subjects import Subject, Subjects

SOLVED = 1e-6
MERGED = 1e-6  # as stored in fp32; the moments themselves agree to 1e-10
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
INPUTS = ("normed", "raw")


@pytest.fixture(params=["llama-llama3-float32", "qwen2-window-float32", "tales-12l"])
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    return subjects(request.param)


@dataclass
class Dense:
    """An adapter as a bias and a whole matrix, in double."""

    bias: np.ndarray
    matrix: np.ndarray  # (outputs, inputs)
    rank: int
    ridge: float
    explained: float


@dataclass
class Case:
    """One removed sublayer: inputs and updates of training tokens and of held-out ones."""

    x: np.ndarray
    u: np.ndarray
    held_x: np.ndarray
    held_u: np.ndarray

    def centred(self) -> tuple[np.ndarray, np.ndarray]:
        return self.x - self.x.mean(0), self.u - self.u.mean(0)

    def penalty(self, ridge: float) -> float:
        """What a relative ridge adds to the diagonal of the sum of squares."""
        return ridge * float((self.centred()[0] ** 2).sum()) / self.x.shape[1]

    def ridge_matrix(self, ridge: float) -> np.ndarray:
        linear_model = pytest.importorskip("sklearn.linear_model")
        fit = linear_model.Ridge(alpha=self.penalty(ridge), solver="cholesky").fit(self.x, self.u)
        return np.asarray(fit.coef_)

    def directions(self, ridge: float) -> np.ndarray:
        """Orthonormal columns by which a ridge regression's predictions vary most, leading first.

        By a singular value decomposition of the data with the ridge as rows of its own, and not by
        the covariances that PruneCore goes by.
        """
        x, u = self.centred()
        x = np.vstack([x, np.sqrt(self.penalty(ridge)) * np.eye(x.shape[1])])
        u = np.vstack([u, np.zeros((x.shape[1], u.shape[1]))])
        fitted = x @ np.linalg.lstsq(x, u, rcond=None)[0]
        return np.linalg.svd(fitted, full_matrices=False)[2].T

    def held_out_error(self, matrix: np.ndarray) -> float:
        bias = self.u.mean(0) - matrix @ self.x.mean(0)
        return float(((self.held_u - bias - self.held_x @ matrix.T) ** 2).sum(1).mean())


@contextmanager
def moments(model: Any, data: Any, keep: np.ndarray, **options: Any) -> Iterator[Any]:
    out = ffi.new("prune_moments **")
    check(
        lib.prune_moments_create(model, array("uint8_t", keep), len(keep), recovery(**options), out)
    )
    check(lib.prune_moments_collect(out[0], model, data, ffi.NULL))
    yield out[0]
    lib.prune_moments_release(out[0])


def recovery(**fields: Any) -> Any:
    options = new_struct("prune_recover_options")
    for name, value in fields.items():
        setattr(options, name, value)
    return options


def solved(gathered: Any, held_out: Any, sublayer: int, **options: Any) -> Dense:
    """The adapter of a sublayer in closed form."""
    out = ffi.new("prune_adapters **")
    check(lib.prune_moments_solve(gathered, held_out, recovery(**options), out))
    handle = out[0]
    count = ffi.new("size_t *")
    listed = ffi.new("prune_adapter[]", len(Setting.sublayers))
    check(lib.prune_adapters_list(handle, listed, len(listed), count))
    own = next(one for one in listed if one.sublayer == sublayer)
    values = ffi.new("float[]", own.parameters)

    def part(number: int, rows: int) -> np.ndarray:
        check(lib.prune_adapters_get(handle, sublayer, number, values, len(values), count))
        return np.array(list(values)[: count[0]], dtype=np.float64).reshape(rows, -1)

    bias = part(lib.PRUNE_PART_BIAS, 1)[0]
    if own.kind == lib.PRUNE_ADAPTER_LINEAR:
        matrix = part(lib.PRUNE_PART_MATRIX, len(bias))
    else:
        down, up = part(lib.PRUNE_PART_DOWN, own.rank), part(lib.PRUNE_PART_UP, len(bias))
        norms = np.linalg.norm(down, axis=1), np.linalg.norm(up, axis=0)
        np.testing.assert_allclose(*norms, rtol=1e-5)  # both learn at the same pace
        matrix = up @ down
    lib.prune_adapters_release(handle)
    return Dense(bias, matrix, own.rank, own.ridge, own.explained)


def assert_near(found: Dense, case: Case, matrix: np.ndarray, tolerance: float) -> None:
    assert np.abs(found.matrix - matrix).max() <= tolerance * np.abs(matrix).max()
    bias = case.u.mean(0) - matrix @ case.x.mean(0)
    # The bias is rounded to fp32, and is what two larger numbers leave.
    scale = np.abs(bias).max() + np.abs(matrix @ case.x.mean(0)).max()
    assert np.abs(found.bias - bias).max() <= tolerance * scale
    variance = ((case.held_u - case.held_u.mean(0)) ** 2).sum(1).mean()
    wanted = 1 - case.held_out_error(matrix) / variance
    assert abs(found.explained - wanted) <= 10 * tolerance * (1 + abs(wanted))


class Setting:
    """A model with two removed sublayers and its data in two parts; the first holds most tokens."""

    sublayers = (1, 2)

    def __init__(self, subject: Subject, model: Any, kind_of_input: str) -> None:
        self.subject, self.model = subject, model
        self.parts = (subject.sequences[:4], subject.sequences[4:])
        self.data = [token_data(part) for part in self.parts]
        self.keep = np.ones(2 * subject.n_blocks, dtype=np.uint8)
        self.keep[list(self.sublayers)] = 0
        self.input = getattr(lib, f"PRUNE_INPUT_{kind_of_input.upper()}")
        self.tolerance = SOLVED

    def states(self, part: int, sublayer: int) -> np.ndarray:
        rows = sum(map(len, self.parts[part]))
        width = self.subject.oracle.model.config.hidden_size
        out, count = ffi.new("float[]", rows * width), ffi.new("size_t *")
        check(
            lib.prune_model_hidden_states(
                self.model, self.data[part], ffi.NULL, 0, sublayer, ffi.NULL, out, len(out), count
            )
        )
        return np.frombuffer(ffi.buffer(out), dtype=np.float32).reshape(rows, width).copy()

    def case(self, sublayer: int) -> Case:
        values = []
        for part in (0, 1):
            h, after = self.states(part, sublayer), self.states(part, sublayer + 1)
            values += [self.normed(h, sublayer), after.astype(np.float64) - h]
        return Case(*values)

    def normed(self, h: np.ndarray, sublayer: int) -> np.ndarray:
        h = h.astype(np.float64)
        if self.input == lib.PRUNE_INPUT_RAW:
            return h
        layer = self.subject.oracle.model.model.layers[sublayer // 2]
        norm = layer.post_attention_layernorm if sublayer % 2 else layer.input_layernorm
        mean = (h**2).mean(1, keepdims=True)
        return h / np.sqrt(mean + norm.variance_epsilon) * norm.weight.detach().numpy()

    @contextmanager
    def gathered(self, kind: int) -> Iterator[tuple[Any, Any]]:
        options = {"kind": kind, "input": self.input}
        with (
            moments(self.model, self.data[0], self.keep, **options) as training,
            moments(self.model, self.data[1], self.keep, **options) as held_out,
        ):
            yield training, held_out


@pytest.fixture(params=INPUTS)
def setting(subject: Subject, request: pytest.FixtureRequest) -> Iterator[Setting]:
    with opened(subject.directory) as model:
        yield Setting(subject, model, request.param)


@pytest.mark.parametrize("ridge", [1e-3, 1e-1])
def test_linear_is_ridge_regression(setting: Setting, ridge: float) -> None:
    kind = lib.PRUNE_ADAPTER_LINEAR
    with setting.gathered(kind) as (training, held_out):
        for sublayer in setting.sublayers:
            found = solved(training, held_out, sublayer, kind=kind, ridge=ridge)
            case = setting.case(sublayer)
            assert_near(found, case, case.ridge_matrix(ridge), setting.tolerance)
            assert found.ridge == ridge


@pytest.mark.parametrize(("rank", "ridge"), [(1, 1e-3), (4, 1e-1), (16, 1e-3)])
def test_low_rank_is_reduced_rank_regression(setting: Setting, rank: int, ridge: float) -> None:
    kind = lib.PRUNE_ADAPTER_LOW_RANK
    with setting.gathered(kind) as (training, held_out):
        for sublayer in setting.sublayers:
            found = solved(training, held_out, sublayer, kind=kind, rank=rank, ridge=ridge)
            case = setting.case(sublayer)
            directions = case.directions(ridge)[:, :rank]
            matrix = directions @ directions.T @ case.ridge_matrix(ridge)
            assert_near(found, case, matrix, setting.tolerance)
            assert found.rank == rank


def test_the_ridge_is_the_best_of_the_grid(setting: Setting) -> None:
    kind = lib.PRUNE_ADAPTER_LINEAR
    with setting.gathered(kind) as (training, held_out):
        for sublayer in setting.sublayers:
            found = solved(training, held_out, sublayer, kind=kind)
            case = setting.case(sublayer)
            errors = {ridge: case.held_out_error(case.ridge_matrix(ridge)) for ridge in RIDGES}
            assert errors[found.ridge] <= min(errors.values()) * (1 + 1e-6)


def test_the_rank_is_the_smallest_that_is_nearly_best(setting: Setting) -> None:
    kind, ridge = lib.PRUNE_ADAPTER_LOW_RANK, 1e-2
    with setting.gathered(kind) as (training, held_out):
        for sublayer in setting.sublayers:
            found = solved(training, held_out, sublayer, kind=kind, ridge=ridge, rank=-1)
            case = setting.case(sublayer)
            directions, whole = case.directions(ridge), case.ridge_matrix(ridge)
            ranks = [rank for rank in (1, 2, 4, 8, 16, 32, 64, 128) if rank <= len(whole)]
            errors = {
                rank: case.held_out_error(directions[:, :rank] @ directions[:, :rank].T @ whole)
                for rank in ranks
            }
            assert found.rank == next(r for r in ranks if errors[r] <= 1.01 * min(errors.values()))


def test_shards_merged_are_one_pass(setting: Setting) -> None:
    kind = lib.PRUNE_ADAPTER_LINEAR
    options = {"kind": kind, "input": setting.input}
    shards = [token_data([sequence]) for sequence in setting.parts[0]]
    with setting.gathered(kind) as (whole, held_out):
        with moments(setting.model, shards[0], setting.keep, **options) as merged:
            for shard in shards[1:]:
                with moments(setting.model, shard, setting.keep, **options) as part:
                    check(lib.prune_moments_merge(merged, part))
            for sublayer in setting.sublayers:
                wanted = solved(whole, held_out, sublayer, kind=kind, ridge=1e-1)
                found = solved(merged, held_out, sublayer, kind=kind, ridge=1e-1)
                for a, b in ((found.matrix, wanted.matrix), (found.bias, wanted.bias)):
                    assert np.abs(a - b).max() <= MERGED * np.abs(b).max()
