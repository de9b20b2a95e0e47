# SPDX-License-Identifier: Apache-2.0
"""Whatever call of a host's method fails: its exception comes back, no state stays, the next works.

Every operation is run again and again, with the first, the second, .. call of each method failing,
until it comes to its end.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from numpy_decoder import Decoder, Sizes
from numpy_host import EvaluatingHost, NumpyHost, WholeBlocksHost
from prunecore._native import failures as _failures
from prunecore._native.library import _check

MASK = np.array([1, 0, 1, 1], dtype=np.uint8)


class LogitsHost(NumpyHost):
    token_losses = distances = compare = None


class WritingHost(NumpyHost):
    apply_adapter = None


class Oops(Exception):
    """What the host raises."""


DECODER = Decoder(2, Sizes(blocks=2, width=8, heads=2, groups=1, head=4, inner=12, vocabulary=11))
DATA = pc.Data([np.arange(n) % 11 for n in (5, 1, 7)])

Operation = Callable[[pc.HostModel], object]
Progress = Callable[..., bool]


def score(model: pc.HostModel) -> object:
    return model.score(DATA, "cosine", batch_tokens=6)["cosine"]


def windows(model: pc.HostModel) -> object:
    return model.statistics(DATA, windows=True).windows()


def leave_one_out(model: pc.HostModel) -> object:
    names = ["leave_one_out_loss", "leave_one_out_logit_l2"]
    found = model.score(DATA, names, batch_tokens=6)
    return np.concatenate([found[name] for name in names])


def damages(model: pc.HostModel) -> object:
    masks = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]])
    # No memory for states: they are let go and computed again.
    return model.damages(DATA, masks, "js", memory_budget=1).values


def evaluate(model: pc.HostModel) -> object:
    return [each.loss for each in model.evaluate_masks(DATA, [MASK, 1 - MASK])]


def shapley(model: pc.HostModel) -> object:
    return model.shapley(DATA, estimator="exact", granularity="block").values


def logits(model: pc.HostModel) -> object:
    return model.logits(DATA, MASK)


def closed_form(model: pc.HostModel) -> object:
    found = model.recover(MASK, DATA, rank=1, ridge=1e-3)
    return found.arrays(1)["bias"]


def recovered(model: pc.HostModel) -> object:
    adapters = ADAPTERS["low_rank"]
    return model.evaluate(DATA, adapters=adapters).loss


def training(model: pc.HostModel) -> object:
    options = {"objective": "kl", "steps": 2, "step_tokens": 6, "start": "zero"}
    return model.recover(MASK, DATA, rank=1, held_out_share=0.4, **options).arrays(1)["up"]


def training_states(model: pc.HostModel) -> object:
    options = {"objective": "mse", "steps": 2, "step_tokens": 6, "start": "zero"}
    return model.recover(MASK, DATA, rank=1, held_out_share=0.4, **options).arrays(1)["up"]


def gradient(model: pc.HostModel) -> object:
    return model.gradient(DATA, "ce", 0).values


def vjp(model: pc.HostModel) -> object:
    states = np.linspace(-1, 1, DATA.n_tokens * 8).reshape(-1, 8)
    return model.vjp(DATA, 2, states, states[::-1])


CASES: list[tuple[type[pc.Host], Operation, str]] = [
    (NumpyHost, score, "embed apply compare"),
    (LogitsHost, score, "embed apply read"),
    (NumpyHost, windows, "embed apply compare"),
    (NumpyHost, leave_one_out, "embed apply token_losses distances"),
    (LogitsHost, leave_one_out, "embed apply logits"),
    (NumpyHost, damages, "embed apply distances"),
    (NumpyHost, evaluate, "embed apply token_losses"),
    (EvaluatingHost, evaluate, "evaluate"),
    (EvaluatingHost, shapley, "evaluate"),
    (WholeBlocksHost, shapley, "embed apply token_losses"),
    (NumpyHost, logits, "embed apply logits"),
    (NumpyHost, closed_form, "embed apply read norm"),
    (NumpyHost, recovered, "embed apply apply_adapter token_losses"),
    (WritingHost, recovered, "embed apply read write token_losses"),
    (NumpyHost, training, "embed apply read norm apply_adapter vjp head_vjp distances"),
    (NumpyHost, training_states, "embed apply read write vjp"),
    (NumpyHost, gradient, "embed apply vjp head_vjp read"),
    (NumpyHost, vjp, "vjp read write embed"),
]


class Failing:
    """Makes one call of a method of a host fail.

    Attributes
    ----------
    raised : Exception or None
        What it failed with.
    """

    def __init__(self, host: pc.Host, method: str, at: int, error: type[BaseException]) -> None:
        self.raised: BaseException | None = None
        inner = getattr(host, method)
        left = iter([False] * at + [True])

        def failing(*arguments: Any) -> Any:
            result = inner(*arguments)  # the work of the call is done, and lost
            if next(left, False):
                self.raised = error(f"call {at} of {method}")
                raise self.raised
            return result

        setattr(host, method, failing)


@contextmanager
def made(kind: type[pc.Host], **failing: Any) -> Iterator[tuple[pc.HostModel, Failing]]:
    host = kind(DECODER)
    fault = Failing(host, **failing)
    with pc.from_host(host) as model:
        yield model, fault


@pytest.fixture(scope="module", autouse=True)
def adapters() -> Iterator[None]:
    with pc.from_host(NumpyHost(DECODER)) as model:
        ADAPTERS["low_rank"] = model.recover(MASK, DATA, rank=1, ridge=1e-3)
    yield
    ADAPTERS.clear()


ADAPTERS: dict[str, pc.Adapters] = {}


@pytest.mark.parametrize(
    ("kind", "operation", "method"),
    [
        pytest.param(kind, operation, method, id=f"{kind.__name__}-{operation.__name__}-{method}")
        for kind, operation, methods in CASES
        for method in methods.split()
    ],
)
def test_every_call_of_a_host_may_fail_once(
    kind: type[pc.Host], operation: Operation, method: str
) -> None:
    with pc.from_host(kind(DECODER)) as sound:
        wanted = operation(sound)
    at = 0
    while True:
        with made(kind, method=method, at=at, error=Oops) as (model, fault):
            try:
                found = operation(model)
            except Oops as error:
                assert error is fault.raised
                names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
                assert names[0] == "test_every_call_of_a_host_may_fail_once"
                assert names[-1] == "failing"
                assert model.live_states == 0
                np.testing.assert_array_equal(operation(model), wanted)  # the fault is gone
                assert model.live_states == 0
            else:
                assert fault.raised is None, f"call {at} of {method} failed, and nobody heard"
                np.testing.assert_array_equal(found, wanted)
                break
        at += 1
    assert at > 0, f"{method} was never called"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit])
def test_host_exceptions_of_every_kind_come_back(error: type[BaseException]) -> None:
    with made(NumpyHost, method="apply", at=2, error=error) as (model, fault):
        with pytest.raises(error) as caught:
            evaluate(model)
        assert caught.value is fault.raised
        evaluate(model)


@pytest.mark.parametrize("error", [pc.DataError, pc.UnsupportedError, pc.Cancelled])
def test_library_errors_raised_by_a_host_keep_their_kind(error: type[pc.Error]) -> None:
    with made(NumpyHost, method="token_losses", at=0, error=error) as (model, fault):
        with pytest.raises(error) as caught:
            evaluate(model)
        assert caught.value is fault.raised


def test_an_exception_without_a_sentence() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    with made(NumpyHost, method="embed", at=0, error=Mute) as (model, fault):
        with pytest.raises(Mute) as caught:
            evaluate(model)
        assert caught.value is fault.raised


def test_no_exception_comes_out_of_a_later_call() -> None:
    with made(NumpyHost, method="embed", at=0, error=Oops) as (model, _):
        with pytest.raises(Oops):
            evaluate(model)
        with pytest.raises(pc.ArgumentError):
            model.evaluate(DATA, [1, 0])
        with pytest.raises(pc.DataError, match="vocabulary"):
            model.evaluate(pc.Data([[10, 11]]))
        evaluate(model)


def test_calls_without_progress_raise_what_is_kept_for_them_alone() -> None:
    """Calls without a progress function go by the status: only a host's failure is the host's."""
    error = Oops("kept")
    _failures.kept.exception = error
    with pytest.raises(pc.DataError):
        _check(pc.DataError.status)
    with pytest.raises(Oops) as caught:
        _check(pc.HostError.status)
    assert caught.value is error
    with pytest.raises(pc.HostError):
        _check(pc.HostError.status)


class SlowHost(NumpyHost):
    """Takes so long for a sublayer that progress is told of most: it is told at most so often."""

    def apply(self, sublayer: int, states: list[Any]) -> list[Any]:
        time.sleep(0.03)
        return super().apply(sublayer, states)


def slow_score(model: pc.HostModel, progress: Progress) -> object:
    return model.score(DATA, "cosine", progress=progress)["cosine"]


def slow_damages(model: pc.HostModel, progress: Progress) -> object:
    masks = [[1, 1, 1, 1], [1, 0, 0, 1]]
    return model.damages(DATA, masks, "kl", progress=progress).values


def slow_evaluation(model: pc.HostModel, progress: Progress) -> object:
    return model.evaluate(DATA, adapters=ADAPTERS["low_rank"], progress=progress).loss


def slow_closed_form(model: pc.HostModel, progress: Progress) -> object:
    return model.recover(MASK, DATA, rank=1, ridge=1e-3, progress=progress).arrays(1)["bias"]


def slow_training(model: pc.HostModel, progress: Progress) -> object:
    options = {"objective": "mse", "steps": 2, "step_tokens": 6, "ridge": 1e-3}
    options |= {"progress": progress, "on_step": progress}
    return model.recover(MASK, DATA, rank=1, held_out_share=0.4, **options).arrays(1)["up"]


@pytest.mark.parametrize(
    "operation", [slow_score, slow_damages, slow_evaluation, slow_closed_form, slow_training]
)
def test_host_calls_can_be_cancelled_at_every_tick(
    operation: Callable[[pc.HostModel, Progress], object],
) -> None:
    with pc.from_host(SlowHost(DECODER)) as model:
        ticks = 0
        while True:
            left = iter([False] * ticks + [True])
            try:
                found = operation(model, lambda *_, left=left: next(left, False))
            except pc.Cancelled:
                assert model.live_states == 0
            else:
                break
            ticks += 1
        assert ticks > 2
        np.testing.assert_array_equal(operation(model, lambda *_: False), found)


def spoilt(method: str, change: Callable[[Any], Any], kind: type[pc.Host]) -> pc.Host:
    """A host with a method whose results are changed."""
    host = kind(DECODER)
    inner = getattr(host, method)
    setattr(host, method, lambda *arguments: change(inner(*arguments)))
    return host


WRONG: list[tuple[str, Callable[[Any], Any], Operation, type[pc.Host], str]] = [
    ("embed", lambda state: None, evaluate, NumpyHost, "embed gave None"),
    ("apply", lambda states: states[:-1], evaluate, NumpyHost, r"apply of attn.0 gave \d states"),
    ("apply", lambda states: states * 2, score, NumpyHost, "apply of attn.0 gave 2 states, but 1"),
    ("apply", lambda states: states[0], score, NumpyHost, "apply of attn.0 gave a State, but"),
    ("apply", lambda states: [None], score, NumpyHost, "apply of attn.0 gave None"),
    ("apply", lambda states: None, score, NumpyHost, "apply of attn.0 gave None"),
    ("token_losses", lambda x: x[:-1], evaluate, NumpyHost, r"token_losses .* \(\d+,\) is asked"),
    ("token_losses", lambda x: x[:, None], evaluate, NumpyHost, "token_losses .* shape"),
    ("token_losses", lambda x: x + 1j, evaluate, NumpyHost, "token_losses gave complex128"),
    ("token_losses", lambda x: None, evaluate, NumpyHost, "token_losses gave NoneType"),
    ("token_losses", lambda x: ["a"] * len(x), evaluate, NumpyHost, "token_losses gave <U1"),
    ("token_losses", lambda x: [[1], [1, 2]], evaluate, NumpyHost, "token_losses gave what NumPy"),
    ("logits", lambda x: x[:, :-1], logits, NumpyHost, r"logits .* \(13, 10\), but \(13, 11\)"),
    ("distances", lambda x: x[None], damages, NumpyHost, "distances .* shape"),
    ("compare", lambda x: x[:, :5], score, NumpyHost, r"compare .* \(\d+, 5\), but \(\d+, 6\)"),
    ("read", lambda x: x.T, closed_form, NumpyHost, r"read .* \(8, \d+\), but \(\d+, 8\)"),
    ("norm", lambda x: x[0], closed_form, NumpyHost, "norm of ffn.0 gave a ndarray, but must give"),
    ("norm", lambda x: (x[0][:3], 1), closed_form, NumpyHost, r"norm of ffn.0 .* \(3,\), but \(8,"),
    ("norm", lambda x: (x[0], "tiny"), closed_form, NumpyHost, "norm of ffn.0 gave <U4"),
    ("write", lambda x: None, recovered, WritingHost, "write gave None"),
    ("apply_adapter", lambda x: None, recovered, NumpyHost, "apply_adapter of ffn.0 gave None"),
    ("vjp", lambda x: [], gradient, NumpyHost, "vjp of ffn.1 gave 0 states"),
    ("head_vjp", lambda x: x[0], gradient, NumpyHost, "head_vjp gave a ndarray, but must give"),
    ("head_vjp", lambda x: (x[0], None), gradient, NumpyHost, "head_vjp gave None"),
    ("head_vjp", lambda x: (x[0][1:], x[1]), gradient, NumpyHost, "head_vjp .* shape"),
    ("evaluate", lambda x: x[1:], evaluate, EvaluatingHost, r"evaluate .* \(1,\), but \(2,\)"),
]


@pytest.mark.parametrize(
    ("method", "change", "operation", "kind", "says"),
    [pytest.param(*case, id=f"{case[0]}-{number}") for number, case in enumerate(WRONG)],
)
def test_wrong_results_of_a_host_are_errors(
    method: str,
    change: Callable[[Any], Any],
    operation: Operation,
    kind: type[pc.Host],
    says: str,
) -> None:
    with pc.from_host(spoilt(method, change, kind)) as model:
        with pytest.raises(pc.HostError, match=says):
            operation(model)
        assert model.live_states == 0


def with_nan(result: Any) -> Any:
    """A result with a NaN in the place of its last number."""
    if isinstance(result, tuple):
        return with_nan(result[0]), result[1]
    if isinstance(result, list) and isinstance(result[0], float):
        return [*result[:-1], float("nan")]
    if isinstance(result, list):
        return [replace(result[0], rows=with_nan(result[0].rows)), *result[1:]]
    spoiled = np.array(result, dtype=np.float64)
    spoiled.flat[-1] = np.nan
    return spoiled


@pytest.mark.parametrize(
    ("method", "operation", "kind"),
    [
        ("apply", score, NumpyHost),
        ("apply", score, LogitsHost),
        ("apply", evaluate, NumpyHost),
        ("token_losses", evaluate, NumpyHost),
        ("logits", evaluate, LogitsHost),
        ("distances", damages, NumpyHost),
        ("compare", score, NumpyHost),
        ("read", closed_form, NumpyHost),
        ("norm", closed_form, NumpyHost),
        ("vjp", training, NumpyHost),
        ("head_vjp", training, NumpyHost),
        ("evaluate", evaluate, EvaluatingHost),
    ],
)
def test_host_numbers_that_are_not_finite_are_errors(
    method: str, operation: Operation, kind: type[pc.Host]
) -> None:
    with pc.from_host(spoilt(method, with_nan, kind)) as model:
        with pytest.raises((pc.NonFiniteError, pc.HostError)) as caught:
            operation(model)
        assert "finite" in str(caught.value) or "nan" in str(caught.value)
        assert model.live_states == 0
