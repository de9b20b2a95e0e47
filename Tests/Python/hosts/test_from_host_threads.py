# SPDX-License-Identifier: Apache-2.0
"""Models of hosts in several threads, and in other processes."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from numpy_decoder import Decoder, Sizes
from numpy_host import NumpyHost
from processes import HANG

DECODER = Decoder(2, Sizes(blocks=2, width=8, heads=2, groups=1, head=4, inner=12, vocabulary=11))
DATA = pc.Data([np.arange(n) % 11 for n in (5, 9)])


class Oops(Exception):
    """What a host raises."""


def test_methods_of_two_models_run_side_by_side() -> None:
    """Each waits inside a method for the other: a call that kept the GIL would wait for ever."""
    meeting = threading.Barrier(2)

    class Meeting(NumpyHost):
        def token_losses(self, state, rows, tokens):
            meeting.wait(HANG)
            return super().token_losses(state, rows, tokens)

    models = [pc.from_host(Meeting(DECODER)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda model: model.evaluate(DATA).loss, models))
    with pc.from_host(NumpyHost(DECODER)) as plain:
        assert found == [plain.evaluate(DATA).loss] * 2
    assert [model.live_states for model in models] == [0, 0]


def test_each_thread_hears_its_own_exception() -> None:
    """One model in many threads, some of whose calls fail."""
    mine = threading.local()

    class Failing(NumpyHost):
        def apply(self, sublayer, states):
            if sublayer == 3 and mine.error is not None:
                raise mine.error
            return super().apply(sublayer, states)

    def work(number: int) -> bool:
        mine.error = Oops(str(number)) if number % 3 == 0 else None
        try:
            found = model.score(DATA, "leave_one_out_loss")["leave_one_out_loss"]
        except Oops as error:
            return error is mine.error
        return mine.error is None and np.array_equal(found, wanted)

    with pc.from_host(NumpyHost(DECODER)) as plain:
        wanted = plain.score(DATA, "leave_one_out_loss")["leave_one_out_loss"]
    with pc.from_host(Failing(DECODER)) as model, ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(60)))
        assert model.live_states == 0


def test_exceptions_come_back_in_other_threads() -> None:
    error = Oops("elsewhere")

    class Failing(NumpyHost):
        def embed(self, batch):
            raise error

    with pc.from_host(Failing(DECODER)) as model, ThreadPoolExecutor(1) as pool:
        assert pool.submit(model.evaluate, DATA).exception(HANG) is error
        # It is not a concern of this thread's calls, nor of that one's next.
        with pytest.raises(pc.ArgumentError):
            model.evaluate(DATA, [1])
        with pytest.raises(pc.ArgumentError):
            pool.submit(model.evaluate, DATA, [1]).result(HANG)


def fresh_loss(results: Any) -> None:
    """What a child process does that makes its own model."""
    with pc.from_host(NumpyHost(DECODER)) as model:
        results.put(model.evaluate(DATA).loss)


def inherited_loss(results: Any, model: pc.HostModel) -> None:
    """What a forked child must not do, and what it may do instead."""
    try:
        model.evaluate(DATA)
    except pc.HandleError as error:
        results.put(str(error))
    else:
        results.put("the parent's model was run in the child")
    fresh_loss(results)


def child(context: BaseContext, target: Any, *arguments: Any, count: int = 1) -> list[Any]:
    """What a child process puts into its queue; it must end well."""
    results = context.Queue()
    process = context.Process(target=target, args=(results, *arguments))
    process.start()
    found = [results.get(timeout=HANG) for _ in range(count)]
    process.join(HANG)
    assert process.exitcode == 0
    return found


def test_spawned_process_makes_its_own_model() -> None:
    with pc.from_host(NumpyHost(DECODER)) as model:
        wanted = model.evaluate(DATA).loss
        assert child(multiprocessing.get_context("spawn"), fresh_loss) == [wanted]
        assert model.evaluate(DATA).loss == wanted


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_process_must_make_its_own_model() -> None:
    """The parent's model is refused in the child, which may make its own; the parent goes on."""
    with pc.from_host(NumpyHost(DECODER)) as model:
        wanted = model.evaluate(DATA).loss
        context = multiprocessing.get_context("fork")
        refusal, own = child(context, inherited_loss, model, count=2)
        assert "forked" in refusal
        assert "spawn" in refusal
        assert own == wanted
        assert model.evaluate(DATA).loss == wanted
        assert model.live_states == 0
